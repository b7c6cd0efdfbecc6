package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/popsee/webhooks/config"
)

// The exit codes, a promise to scripts. They are listed in --help.
const (
	exitOK          = 0
	exitFailure     = 1 // what was asked could not be done
	exitUsage       = 2 // the command line, a file or a setting is not valid
	exitUnreachable = 3 // NATS could not be reached
	exitConflict    = 4 // somebody else changed it first, or what exists is set up otherwise
	exitAlarm       = 5 // the live consumer waits for a person to decide
	exitUnproven    = 6 // an audit found events that nothing accounts for
)

const about = `Delivers survey responses from NATS JetStream to webhooks: signed, at least once, acknowledged only after a 2xx.

  webhooks demo                 see it work, in seconds
  webhooks run                  run the service, with its own NATS on this machine
  webhooks run --nats-url URL   run it against your NATS; start as many as you like

Exit codes: 0 done, 1 failed, 2 bad usage or settings, 3 NATS not reachable, 4 conflict, 5 stopped by an alarm, 6 an audit found what
nothing accounts for.`

// commands is the whole command line.
type commands struct {
	Demo        demoCommand        `cmd:"" help:"See it work: NATS, receivers, events and deliveries in one process."`
	Run         runCommand         `cmd:"" help:"Run the service."`
	Provision   provisionCommand   `cmd:"" help:"Create or change what the service needs on NATS; resume after an alarm."`
	Status      statusCommand      `cmd:"" help:"Show how things stand."`
	Why         whyCommand         `cmd:"" help:"Tell the story of one response: what happened, where it is, what happens next."`
	Audit       auditCommand       `cmd:"" help:"Account for every event: delivered, waiting, owed, given up on; or unproven, or lost."`
	Doctor      doctorCommand      `cmd:"" help:"Examine everything and say what is wrong, and what to do."`
	Lanes       lanesCommand       `cmd:"" help:"What waits where and why, oldest first."`
	Endpoint    endpointCommand    `cmd:"" help:"Where a survey's responses are sent."`
	Keys        keysCommand        `cmd:"" help:"The keys that endpoints' secrets are sealed with."`
	Attempts    attemptsCommand    `cmd:"" help:"The delivery log: every request, and how it ended."`
	Replay      replayCommand      `cmd:"" help:"Send stored events again."`
	DeadLetters deadLettersCommand `cmd:"" help:"Events that were given up on."`
	Forget      forgetCommand      `cmd:"" help:"Erase what is held of a person, or of a survey, with a receipt."`
	Backup      backupCommand      `cmd:"" help:"Copy all that a deployment has on NATS into a folder, while it works."`
	Restore     restoreCommand     `cmd:"" help:"Make a deployment of a backup: on an empty server, or a cluster."`
	Publish     publishCommand     `cmd:"" help:"Publish completed responses."`
	Listen      listenCommand      `cmd:"" help:"Receive webhooks on this machine, to develop against."`
	Verify      verifyCommand      `cmd:"" help:"Say whether a signature verifies, and why not."`
	Config      configCommand      `cmd:"" help:"What the settings are, and where each came from."`
	Completion  completionCommand  `cmd:"" help:"Print what makes your shell complete commands and flags."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// world is what a command may touch of the process.
type world struct {
	ctx  context.Context
	env  func(string) string
	in   io.Reader
	out  io.Writer
	errw io.Writer
}

// run is the program, with everything it touches as parameters. It returns the
// exit code.
func run(ctx context.Context, args []string, env func(string) string, in io.Reader, out, errw io.Writer) int {
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
		kong.Description(about),
		kong.Writers(w.out, w.errw),
		kong.Exit(func(c int) { *code = c; panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Help(helpWithExamples),
	)...)
}

// exited carries kong's wish to exit, as after --help, out of the parser.
type exited struct{}

func (w *world) parseAndRun(parser *kong.Kong, args []string, code *int) (result int) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exited); !ok {
				panic(p)
			}
			result = *code
		}
	}()
	w.complete(parser)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return w.fail(misread(args, err))
	}
	if err := parsed.Run(w); err != nil {
		return w.fail(err)
	}
	return exitOK
}

// helpWithExamples prints a command's help and then its examples.
func helpWithExamples(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	node := ctx.Selected()
	if node == nil {
		return nil
	}
	if e := examples[pathOf(node)]; e != "" {
		_, err := fmt.Fprintf(ctx.Stdout, "\nExamples:\n%s", indent(e))
		return err
	}
	return nil
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
		return "see: webhooks " + pathOf(parse.Context.Selected()) + " --help"
	}
	return "see: webhooks --help"
}
