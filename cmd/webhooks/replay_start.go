package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
)

type replayStart struct {
	connection `embed:""`
	Survey     []string   `name:"survey" sep:"none" placeholder:"ID" help:"Only this survey's events; may be given more than once (default: every survey's)."`
	Since      point      `name:"since" placeholder:"PLACE" help:"From where on: a time, a duration ago such as 2h, or a sequence of the event stream."`
	Until      point      `name:"until" placeholder:"PLACE" help:"Up to where: a time, a duration ago, or the last sequence (default: everything that is settled now)."`
	Response   string     `name:"response" placeholder:"ID" help:"Only this response; --since is not needed with it."`
	Rate       replayRate `name:"rate" default:"200" placeholder:"N" help:"Events a second, all replicas together, or max (default: ${default}). Live events go first whatever it is."`
	Reason     string     `name:"reason" placeholder:"TEXT" help:"Why, for whoever looks at it later."`
	DryRun     bool       `name:"dry-run" help:"Start nothing; count what would be sent, to whom, and how long it would take."`
	JSON       bool       `name:"json" help:"Print JSON."`
}

// replayRate is how fast a replay goes; 0 is as fast as it can.
type replayRate float64

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (r *replayRate) UnmarshalText(text []byte) error {
	n, err := replays.ParseRate(string(text))
	*r = replayRate(n)
	return err
}

// Run starts a replay, or says what one would do.
func (c *replayStart) Run(w *world) error {
	q := replays.Request{
		Surveys: c.Survey, Since: c.Since.called("--since"), Until: c.Until.called("--until"), Response: c.Response, Rate: float64(c.Rate), Reason: oneLine(c.Reason), By: startedBy(w),
	}
	if err := q.Check(); err != nil {
		return refused(err, storedOnly)
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	bars := &phases{w: w}
	defer bars.end()
	desk := replays.New(s.js, s.names, bars.step)
	plan, err := desk.Plan(w.ctx, q)
	bars.end()
	if err != nil {
		return refused(err, storedOnly)
	}
	if !c.JSON {
		for _, note := range plan.Notes {
			w.printf("%s\n", note)
		}
	}
	if c.DryRun {
		v, err := desk.Rehearse(w.ctx, plan)
		bars.end()
		switch {
		case err != nil:
			return err
		case c.JSON:
			return w.printJSON(v)
		}
		printRehearsal(w, v)
		return nil
	}
	r, _, err := desk.Start(w.ctx, plan)
	if err != nil {
		return refused(err, storedOnly)
	}
	if c.JSON {
		return w.printJSON(replays.ViewOf(r))
	}
	w.printf("replay %s started: %s, sequences %d to %d%s, %s\n", r.ID, count(r.Events, "event"), r.Start, r.End, chosen(r), rateWords(r.Rate))
	w.printf("watch it with: webhooks replay show %s --follow\n", r.ID)
	return nil
}

// storedOnly is what a replay has to say of the future.
const storedOnly = "a replay sends what is stored; what is published later is delivered anyway"

// refused says what to do about what was asked for and cannot be meant, or done; future
// about events that are not published yet.
func refused(err error, future string) error {
	r, is := errors.AsType[*replays.Refused](err)
	if !is {
		return err
	}
	err = hinted{err, refusedHint(r, future)}
	if r.Why.Asked() {
		return usage{err}
	}
	return err
}

func refusedHint(r *replays.Refused, future string) string {
	switch r.Why {
	case replays.NoStart:
		return "for example --since 2h, --since 2026-01-31 or --since 1041; see it first with --dry-run"
	case replays.BadSurvey:
		return "use letters, digits, - and _ ; see what there is with: webhooks endpoint list"
	case replays.TooMany:
		return "leave --survey out to replay every survey's events, or start several replays"
	case replays.NoEndpoint:
		return fmt.Sprintf("see what there is with: webhooks endpoint list; connect it with: webhooks endpoint set %s --url https://…", r.About)
	case replays.Beyond, replays.Nothing:
		return "see where things stand with: webhooks status"
	case replays.Future:
		return future
	case replays.Backwards:
		return "--since is the earlier one"
	case replays.Empty:
		return "publish one with: webhooks publish response.json"
	case replays.NoResponse:
		return "see what is known of it with: webhooks why " + r.About
	case replays.NoEvents:
		return "see which surveys have events with: webhooks replay start --since … --dry-run"
	default:
		return ""
	}
}

// startedBy is who asks, as far as the environment says.
func startedBy(w *world) string {
	host, err := os.Hostname()
	if err != nil {
		return w.env("USER")
	}
	return cmp.Or(w.env("USER"), "somebody") + "@" + host
}
