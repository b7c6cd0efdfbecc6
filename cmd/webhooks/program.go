package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/panics"
)

const about = `Delivers survey responses from NATS JetStream to webhooks: signed, at least once, acknowledged only after a 2xx.

  webhooks demo                 see it work, in seconds
  webhooks run                  run the service, with its own NATS on this machine
  webhooks run --nats-url URL   run it against your NATS; start as many as you like
  webhooks status               how things stand, here or at --nats-url`

// commands is the whole command line, in the order and the groups of the help.
type commands struct {
	Demo      demoCommand      `cmd:"" group:"Start:" help:"See it work: NATS, receivers, events and deliveries in one process."`
	Run       runCommand       `cmd:"" group:"Start:" help:"Run the service."`
	Provision provisionCommand `cmd:"" group:"Start:" help:"Create or change what the service needs on NATS; resume after an alarm."`
	Endpoint  endpointCommand  `cmd:"" group:"Set up:" help:"Where a survey's responses are sent."`
	Keys      keysCommand      `cmd:"" group:"Set up:" help:"The keys that endpoints' secrets are sealed with."`
	Config    configCommand    `cmd:"" group:"Set up:" help:"What the settings are, and where each came from."`

	Status   statusCommand   `cmd:"" group:"See what happens:" help:"Show how things stand."`
	Why      whyCommand      `cmd:"" group:"See what happens:" help:"Tell the story of one response: what happened, where it is, what happens next."`
	Attempts attemptsCommand `cmd:"" group:"See what happens:" help:"The delivery log: every request, and how it ended."`
	Lanes    lanesCommand    `cmd:"" group:"See what happens:" help:"What waits where and why, oldest first."`
	Audit    auditCommand    `cmd:"" group:"See what happens:" help:"Account for every event: delivered, waiting, owed, given up on; or unproven, or lost."`
	Doctor   doctorCommand   `cmd:"" group:"See what happens:" help:"Examine everything and say what is wrong, and what to do."`

	Replay      replayCommand      `cmd:"" group:"Send again, or forget:" help:"Send stored events again."`
	DeadLetters deadLettersCommand `cmd:"" group:"Send again, or forget:" help:"Events that were given up on."`
	Forget      forgetCommand      `cmd:"" group:"Send again, or forget:" help:"Erase what is held of a person, or of a survey, with a receipt."`

	Backup  backupCommand  `cmd:"" group:"Copy, and move:" help:"Copy all that a deployment has on NATS into a folder, while it works."`
	Restore restoreCommand `cmd:"" group:"Copy, and move:" help:"Make a deployment of a backup: on an empty server, or a cluster."`

	Publish publishCommand `cmd:"" group:"Develop against it:" help:"Publish completed responses."`
	Listen  listenCommand  `cmd:"" group:"Develop against it:" help:"Receive webhooks on this machine, to develop against."`
	Verify  verifyCommand  `cmd:"" group:"Develop against it:" help:"Say whether a signature verifies, and why not."`

	Completion completionCommand `cmd:"" group:"This program:" help:"Print what makes your shell complete commands and flags."`
	Version    versionCommand    `cmd:"" group:"This program:" help:"Print the version."`
}

// world is what a command may touch of the process.
type world struct {
	ctx  context.Context
	env  func(string) string
	in   io.Reader
	out  io.Writer
	errw io.Writer

	asked *nats.Conn // whom the command asked, for fail to say what it was refused; closed when the command has ended
}

// run is the program, with everything it touches as parameters. It returns the
// exit code.
func run(ctx context.Context, args []string, env func(string) string, in io.Reader, out, errw io.Writer) exitCode {
	w := &world{ctx: ctx, env: env, in: in, out: out, errw: errw}
	quietStandardLog()
	code := -1
	parser, err := w.parser(&code)
	if err != nil {
		return w.fail(err)
	}
	return w.parseAndRun(parser, args, &code)
}

// parser reads command lines. What kong would exit with it puts into code.
func (w *world) parser(code *int) (*kong.Kong, error) {
	return kong.New(&commands{}, append(config.Options(w.env),
		kong.Name("webhooks"),
		kong.Description(about+"\n\n"+exitWords()),
		kong.Writers(w.out, w.errw),
		kong.Exit(func(c int) { *code = c; panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Help(helpWithExamples),
	)...)
}

// exited carries kong's wish to exit, as after --help, out of the parser.
type exited struct{}

func (w *world) parseAndRun(parser *kong.Kong, args []string, code *int) (result exitCode) {
	var unheard *panics.Guard
	// The runtime would print what the panic says, and exit with what means bad usage here.
	defer unheard.Catch(panics.PlaceRun, func(p *panics.Panic) {
		result = w.fail(p)
	})
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exited); !ok {
				panic(p)
			}
			result = exitCode(*code)
		}
	}()
	w.complete(parser)
	args = wanted(parser.Model.Node, args)
	parsed, err := parser.Parse(args)
	if err != nil {
		return w.fail(misread(args, err))
	}
	if err := parsed.Run(w); err != nil {
		return w.fail(err)
	}
	return exitOK
}

// wanted is the command line that is meant by one that asks for help in another way:
// "help endpoint set", "endpoint" alone, or nothing at all. So is --version.
func wanted(program *kong.Node, args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	node := program
	for _, word := range args {
		i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word })
		if i < 0 {
			return args
		}
		node = node.Children[i]
	}
	if len(node.Children) == 0 {
		return args
	}
	return append(slices.Clone(args), "--help")
}

// helpWithExamples prints a command's help and then its examples; of a group, the
// first of each of its commands.
func helpWithExamples(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if shown := examplesOf(ctx.Selected()); shown != "" {
		_, err := fmt.Fprintf(ctx.Stdout, "\nExamples:\n%s", indent(shown))
		return err
	}
	return nil
}

func examplesOf(node *kong.Node) string {
	if node == nil {
		return ""
	}
	if len(node.Children) == 0 {
		return examples[pathOf(node)]
	}
	var firsts []string
	for _, child := range node.Children {
		first, _, _ := strings.Cut(strings.TrimSpace(examplesOf(child)), "\n")
		firsts = append(firsts, first)
	}
	return strings.Join(firsts, "\n")
}

// pathOf names a command by its words alone: "endpoint set".
func pathOf(n *kong.Node) string {
	if n.Parent == nil || n.Parent.Type == kong.ApplicationNode {
		return n.Name
	}
	return pathOf(n.Parent) + " " + n.Name
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

// usage marks an error of the command line.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// Hint names the way to the help, unless the error has a better one.
func (u usage) Hint() string {
	if h := hintOf(u.error); h != "" {
		return h
	}
	parse, ok := errors.AsType[*kong.ParseError](u.error)
	if ok && parse.Context != nil && parse.Context.Selected() != nil {
		return seeHelp(parse.Context.Selected())
	}
	return "see: webhooks --help"
}

// seeHelp leads to a command's help, and shows how it is used.
func seeHelp(command *kong.Node) string {
	example, _, _ := strings.Cut(strings.TrimSpace(examplesOf(command)), "\n")
	example, _, _ = strings.Cut(example, "   ") // what it does
	return "see: webhooks " + pathOf(command) + " --help; for example: " + example
}
