package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/events"
)

type doctorCommand struct {
	config.Settings `embed:""`

	Survey string `name:"survey" placeholder:"ID" help:"Also connect to this survey's endpoint: name, address, TLS; nothing is sent to it."`
	URL    string `name:"url" placeholder:"URL" help:"Also connect to an endpoint at this URL; nothing is sent to it."`
	JSON   bool   `name:"json" help:"Print JSON, one finding a line."`
}

// grade is how well something is.
type grade string

// The grades of a finding.
const (
	gradeOK   grade = "ok"
	gradeWarn grade = "warn" // it works, and somebody should look at it
	gradeFail grade = "fail" // something does not work, or will not when it is needed
)

// finding is one line of the doctor's.
type finding struct {
	Grade grade  `json:"grade"`
	About string `json:"about"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // what to do about it, where there is something to do
}

func ok(about, format string, args ...any) finding {
	return finding{gradeOK, about, fmt.Sprintf(format, args...), ""}
}

func warn(about, do, format string, args ...any) finding {
	return finding{gradeWarn, about, fmt.Sprintf(format, args...), do}
}

func fail(about, do, format string, args ...any) finding {
	return finding{gradeFail, about, fmt.Sprintf(format, args...), do}
}

// errUnwell is the end of an examination that found a failure.
var errUnwell = errors.New("not all is well: see what failed above, and what to do")

// Run examines everything, changes nothing, and fails when something does not work.
func (c *doctorCommand) Run(w *world) error {
	survey := events.Survey("")
	if c.Survey != "" {
		var err error
		if survey, err = events.ParseSurvey(c.Survey); err != nil {
			return usage{err}
		}
	}
	s, err := connection{NATS: c.NATS, Prefix: c.Bus.Prefix}.open(w)
	if err != nil {
		c.print(w, fail("connection", hintOf(err), "%v", err)) // nothing else can be examined
		return err
	}
	defer s.close()
	settings := c.Settings
	if !settings.NATS.External() {
		settings.NATS.URL = bus.DefaultURL // an embedded server is another process here: its own limits count
	}
	d := &doctor{session: s, settings: settings, survey: survey, url: c.URL, layout: layout.Layout{Names: s.names}}
	worst := gradeOK
	for _, f := range d.examine(w.ctx, func(f finding) { c.print(w, f) }) {
		if f.Grade == gradeFail {
			worst = gradeFail
		}
	}
	if worst == gradeFail {
		return errUnwell
	}
	return nil
}

// print shows a finding as soon as it is made.
func (c *doctorCommand) print(w *world, f finding) {
	if c.JSON {
		_ = w.printJSON(f) // text alone cannot fail
		return
	}
	w.printf("%-4s  %-27s  %s\n", f.Grade, f.About, printable([]byte(f.What)))
	if f.Do != "" {
		w.printf("      %-27s  → %s\n", "", f.Do)
	}
}

// doctor is one examination.
type doctor struct {
	*session
	settings config.Settings
	survey   events.Survey // whose endpoint is examined too; empty: nobody's
	url      string        // likewise
	layout   layout.Layout // as the settings want it, once the server was asked
	lacking  map[string]bool

	alarm   *mark.Alarm   // that stands; nil when none does
	settled mark.Position // as the mark has it; zero without one
}

// checkTime bounds one check: what a server may not say it does not refuse either.
const checkTime = 5 * time.Second

// examine makes one check after the other. Where one cannot be made, the others go
// on: it is a finding itself.
func (d *doctor) examine(ctx context.Context, tell func(finding)) (all []finding) {
	for _, check := range []struct {
		about string
		make  func(context.Context) ([]finding, error)
	}{
		{"connection", d.checkConnection},
		{"jetstream", d.checkJetStream},
		{"permissions", d.checkPermissions},
		{"mark", d.checkMark}, // an alarm explains what the others find
		{"set-up", d.checkSetUp},
		{"streams", d.checkStreams},
		{"sync", d.checkSync},
		{"clock", d.checkClock},
		{"live consumer", d.checkLive},
		{"endpoints", d.checkEndpoints},
		{"health", d.checkHealth},
		{"replicas", d.checkReplicas},
		{"this machine", d.checkHere},
		{"delivery log", d.checkLog},
		{"endpoint", d.checkEndpoint},
	} {
		bounded, cancel := context.WithTimeoutCause(ctx, checkTime, fmt.Errorf("no answer within %s: may these credentials ask for it?", checkTime))
		found, err := check.make(bounded)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil {
				err = context.Cause(bounded)
			}
			found = append(found, fail(check.about, hintOf(err), "could not be looked at: %s", err))
		}
		cancel()
		for _, f := range found {
			tell(f)
		}
		all = append(all, found...)
		if ctx.Err() != nil {
			return all
		}
	}
	return all
}
