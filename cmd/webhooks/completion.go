package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/popsee/webhooks/config"
)

type completionCommand struct {
	Shell shell `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// shell is one that can be helped.
type shell string

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (s *shell) UnmarshalText(text []byte) error {
	*s = shell(text)
	return config.OneOf(string(text), []string{"bash", "zsh", "fish"})
}

// Run prints what a shell reads to complete commands and flags of this program.
func (c *completionCommand) Run(ctx *kong.Context) error {
	return (&kongcompletion.Completion{Shell: string(c.Shell), Code: true}).Run(ctx)
}

// complete answers a shell that asks what a line could go on with: it says so in
// COMP_LINE. Then it ends the program by the parser's exit.
func (w *world) complete(parser *kong.Kong) {
	if w.env("COMP_LINE") != "" {
		kongcompletion.Register(parser)
	}
}
