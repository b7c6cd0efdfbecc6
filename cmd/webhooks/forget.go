package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/consumer/forget"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

type forgetCommand struct {
	connection  `embed:""`
	Response    string        `name:"response" placeholder:"ID" help:"Everything of this response."`
	Survey      string        `name:"survey" placeholder:"ID" help:"With --response, its survey: much faster. Alone: everything of this survey."`
	EventStream bool          `name:"event-stream" help:"Also erase from an event stream that this service did not make; its owner must have agreed."`
	Wait        time.Duration `name:"wait" default:"20s" placeholder:"DURATION" help:"Before looking again for what a replica had in hand (default: ${default}); 0 looks once."`
	DryRun      bool          `name:"dry-run" help:"Erase nothing; count what would be."`
	Yes         bool          `name:"yes" short:"y" help:"Do not ask."`
	JSON        bool          `name:"json" help:"Print the receipt as JSON."`
}

// errRemains is the end of an erasure that could not erase everything.
var errRemains = errors.New("not everything could be erased: see above")

// Run erases what is held of a person, or of a survey, and prints a receipt.
func (c *forgetCommand) Run(w *world) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	if o.Wait, err = s.waitFor(w.ctx, o.Wait); err != nil {
		return err
	}
	if !o.DryRun {
		if err := w.confirm(c.Yes, "this erases %s from %s, for good", c.whom(), bus.Server(s.nc)); err != nil {
			return err
		}
	}
	bars := &phases{w: w}
	o.Progress = bars.step
	receipt, err := forget.Run(w.ctx, s.js, layout.Layout{Names: s.names}, o)
	bars.end()
	if receipt.Passes > 0 || receipt.Found() > 0 { // also when it ended early: what is erased is erased
		err = errors.Join(c.print(w, receipt), err)
	}
	if err == nil && len(receipt.Remains) > 0 {
		return errRemains
	}
	return err
}

func (c *forgetCommand) options() (forget.Options, error) {
	o := forget.Options{Response: c.Response, DryRun: c.DryRun, EventStream: c.EventStream, Wait: c.Wait}
	switch {
	case c.Response == "" && c.Survey == "":
		return o, usage{withHint("one person's data is a response's: webhooks forget --response ID --survey ID --dry-run", "say whose data: --response, or --survey")}
	case c.Wait < 0:
		return o, usage{withHint("give a duration such as 20s", "--wait %s is negative", c.Wait)}
	case c.Survey != "":
		survey, err := events.ParseSurvey(c.Survey)
		if err != nil {
			return o, usage{err}
		}
		o.Survey = survey
	}
	return o, nil
}

// waitFor is how long to wait before looking again: not at all when no replica lives
// that could have something in hand.
func (s *session) waitFor(ctx context.Context, wait time.Duration) (time.Duration, error) {
	p, err := leases.Look(ctx, s.js, s.names)
	if err != nil || len(p.Replicas) == 0 {
		return 0, err
	}
	return wait, nil
}

// whom is whose data it is, in words.
func (c *forgetCommand) whom() string {
	switch {
	case c.Response == "":
		return "everything of survey " + c.Survey
	case c.Survey == "":
		return "response " + c.Response
	default:
		return "response " + c.Response + " of survey " + c.Survey
	}
}

// whereElse says what else could have kept something from being found.
func (c *forgetCommand) whereElse() string {
	if c.Response != "" && c.Survey != "" {
		return " It may be another survey's: leave --survey out to look everywhere"
	}
	return ""
}

func (c *forgetCommand) print(w *world, r forget.Receipt) error {
	if c.JSON {
		return w.printJSON(r)
	}
	verb := "erased"
	if r.DryRun {
		verb = "would be erased"
	}
	w.printf("%s: %s up to sequence %d of %s, %s\n", c.whom(), verb, r.Up, r.EventStream.Stream, shortTime(r.Ended))
	if r.Found() == 0 {
		w.printf("nothing was found: is the id right?%s\n", c.whereElse())
	}
	t := w.newTable("STREAM", strings.ToUpper(verb), "WHAT", "SEQUENCES OF THE EVENTS")
	for _, p := range []struct {
		forget.Place

		what string
	}{{r.EventStream, "events"}, {r.Lanes, "waiting copies"}, {r.DeadLetters, "dead letters"}, {r.DeliveryLog, "attempts"}, {r.Replays, "replay jobs"}} {
		t.AppendRow([]any{p.Stream, p.Erased, p.what, stretches(p.Sequences)})
	}
	t.Render()
	if len(r.InHand) > 0 {
		w.printf("in hand: a replica may have been sending sequences %v meanwhile; a receiver may have them\n", r.InHand)
	}
	for _, line := range r.Remains {
		w.printf("remains: %s\n", printable([]byte(line)))
	}
	if !r.DryRun && r.Found() > 0 {
		w.printf("not here: what receivers were sent, backups and mirrors of NATS, and logs of processes, which name response ids\n")
	}
	return nil
}
