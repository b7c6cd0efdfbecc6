package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
)

type provisionCommand struct {
	config.Settings `embed:""`

	DryRun     bool   `name:"dry-run" help:"Touch nothing; show what would be created or changed."`
	JSON       bool   `name:"json" help:"Print JSON, one stream, bucket or consumer a line."`
	ResumeFrom string `name:"resume-from" placeholder:"PLACE" help:"After an alarm, let the live consumer go on from: mark (where it stood), first (all that the stream holds), new (what comes from now on), or a stream sequence."`
}

// Run creates and changes what the service needs, or resumes it.
func (c *provisionCommand) Run(w *world) error {
	s, err := connection{NATS: c.NATS, Prefix: c.Bus.Prefix}.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := w.asking()
	defer cancel()
	settings := c.Settings
	if settings.NATS.URL == "" && settings.NATS.Context == "" {
		settings.NATS.URL = bus.DefaultURL // an embedded server is somebody else's process here: its own limits count
	}
	l, err := arrange(ctx, s.js, settings)
	if err != nil {
		return err
	}
	if c.ResumeFrom != "" {
		return c.resume(w, s, l)
	}
	mode := provision.Update
	if c.DryRun {
		mode = provision.DryRun
	}
	report, err := provision.Run(ctx, s.js, l, mode, zerolog.Nop())
	return errors.Join(c.print(w, report), err)
}

func (c *provisionCommand) resume(w *world, s *session, l layout.Layout) error {
	point, err := mark.ParseResumePoint(c.ResumeFrom)
	if err != nil {
		return usage{err}
	}
	ctx, cancel := w.asking()
	defer cancel()
	if c.DryRun {
		next, err := mark.Preview(ctx, s.js, l, point)
		if err != nil {
			return err
		}
		w.printf("would resume at stream sequence %d\n", next)
		return nil
	}
	if err := s.need(ctx, "operator", fmt.Sprintf("%s.CONSUMER.RESET.%s.%s", cmp.Or(c.NATS.API, "$JS.API"), l.Names.Stream(), l.Names.Consumer())); err != nil {
		return err
	}
	next, err := mark.Resume(ctx, s.js, l, point)
	if err != nil {
		return err
	}
	w.printf("resumed: the next event delivered is the one at stream sequence %d; running replicas go on within seconds\n", next)
	return nil
}

func (c *provisionCommand) print(w *world, report provision.Report) error {
	if c.JSON {
		return printEach(w, report)
	}
	would := ""
	if c.DryRun {
		would = "would be "
	}
	for _, f := range report {
		verdict := string(f.Verdict)
		if f.Verdict == provision.Created || f.Verdict == provision.Changed {
			verdict = would + verdict
		}
		w.printf("%-9s %-22s %s\n", f.Kind, f.Name, verdict)
		for _, d := range f.Differences {
			w.printf("          %s%s\n", d, note(d))
		}
	}
	return nil
}

// note says what becomes of a difference.
func note(d provision.Difference) string {
	switch {
	case !d.Ours:
		return " (its owner's choice; left as it is)"
	case d.Fixed:
		return " (cannot be changed on what exists)"
	default:
		return ""
	}
}
