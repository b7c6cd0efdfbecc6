package main

import (
	"context"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
)

type endpointEnable struct {
	endpointTarget `embed:""`
	NoReplay       bool `name:"no-replay" help:"Forget the events that are owed since it was disabled or its lane was full; what waits in its lane is sent all the same."`
}

// Run switches the endpoint on, and says what that means.
func (c *endpointEnable) Run(w *world) error {
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		on, err := e.Enable(ctx, ep, c.NoReplay)
		if err != nil {
			return conflict(err)
		}
		w.printf("%s is %s (revision %d)\n", on.Endpoint.Survey, endpoints.ViewOf(on.Endpoint).State(), on.Endpoint.Revision)
		tellEnabled(w, on, c.NoReplay, time.Now())
		return nil
	})
}

// tellEnabled says what happens now.
func tellEnabled(w *world, on endpoints.Enabled, noReplay bool, now time.Time) {
	r := on.Before
	if r.Disabled != nil {
		w.printf("it was disabled by %s since %s: %s\n", endpoints.ByWhom(r.Disabled.By), shortTime(r.Disabled.At), r.Disabled.Why)
	}
	if !on.Changed {
		w.printf("it was enabled already: nothing was changed\n")
	}
	probe := ""
	switch {
	case r.Failing() && on.Changed:
		probe = ", once it accepts"
		w.printf("one event is tried now; when it is accepted, the others follow at once\n")
	case r.Failing():
		probe = ", once it accepts"
		w.printf("it fails since %s, last: %s; one event is tried at %s\n", ago(r.Since, now), r.Reason, ahead(r.NextProbe, now))
	}
	switch {
	case on.Forgotten != 0:
		w.printf("owed since sequence %d: forgotten up to sequence %d; what waits in its lane is sent\n", r.OwedFrom, on.Forgotten-1)
	case noReplay:
		w.printf("nothing was owed: there is nothing to forget\n")
	case r.OwedFrom != 0:
		w.printf("owed since sequence %d: sent now, from its lane%s\n", r.OwedFrom, probe)
	}
}

type endpointDisable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint off.
func (c *endpointDisable) Run(w *world) error {
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		ep, err := e.Disable(ctx, ep)
		if err != nil {
			return conflict(err)
		}
		w.printf("%s is %s (revision %d)\n", ep.Survey, endpoints.ViewOf(ep).State(), ep.Revision)
		return nil
	})
}

type endpointRemove struct {
	endpointTarget `embed:""`
}

// Run removes the endpoint.
func (c *endpointRemove) Run(w *world) error {
	return c.with(w, endpoints.Lenient(), func(ctx context.Context, e *editing) error {
		if err := e.Remove(ctx, 0); err != nil {
			return conflict(err)
		}
		w.printf("%s has no endpoint any more: nothing is owed to it\n", e.survey)
		return nil
	})
}
