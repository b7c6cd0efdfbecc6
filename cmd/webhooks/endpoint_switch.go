package main

import (
	"context"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
)

type endpointEnable struct {
	endpointTarget `embed:""`
	NoReplay       bool `name:"no-replay" help:"Forget the events that are owed since it was disabled or its lane was full; what waits in its lane is sent all the same."`
}

// Run ends whatever keeps an endpoint from being sent to: its owner's switch, and
// what the service found out about it. The lane's owner sees the new revision,
// clears what was disabled, and sends what is owed.
func (c *endpointEnable) Run(w *world) error {
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		r, _, err := health.Look(ctx, e.js, e.names, e.survey)
		if err != nil {
			return err
		}
		forgotten, err := c.forget(ctx, e, func() error {
			if ep.Enabled && r.Disabled == nil {
				return nil
			}
			ep.Enabled = true
			ep, err = e.Put(ctx, ep)
			return conflict(err)
		})
		if err != nil {
			return err
		}
		w.printf("%s is %s (revision %d)\n", ep.Survey, viewOf(ep).state(), ep.Revision)
		c.tell(w, r, forgotten)
		return nil
	})
}

// forget forgets what is owed, when that is wished, before the endpoint is
// switched on and sent the first of it; and after, because the lane's owner may
// have renewed its promise at that very moment.
func (c *endpointEnable) forget(ctx context.Context, e *editing, enable func() error) (below uint64, err error) {
	if !c.NoReplay {
		return 0, enable()
	}
	stream, err := e.js.Stream(ctx, e.names.Stream())
	if err != nil {
		return 0, err
	}
	next := stream.CachedInfo().State.LastSeq + 1
	owed, err := health.Waive(ctx, e.js, e.names, e.survey, next)
	if err != nil {
		return 0, err
	}
	if err := enable(); err != nil || !owed {
		return 0, err
	}
	_, err = health.Waive(ctx, e.js, e.names, e.survey, next)
	return next, err
}

// tell says what happens now.
func (c *endpointEnable) tell(w *world, r health.Record, forgotten uint64) {
	if r.Disabled != nil {
		w.printf("it was disabled by %s since %s: %s\n", byWhom(r.Disabled.By), shortTime(r.Disabled.At), r.Disabled.Why)
	}
	if r.Failing() {
		w.printf("one event is tried now; when it is accepted, the others follow at once\n")
	}
	switch {
	case forgotten != 0:
		w.printf("owed since sequence %d: forgotten up to sequence %d; what waits in its lane is sent\n", r.OwedFrom, forgotten-1)
	case c.NoReplay:
		w.printf("nothing was owed: there is nothing to forget\n")
	case r.OwedFrom != 0:
		w.printf("owed since sequence %d: sent now, from its lane\n", r.OwedFrom)
	}
}

type endpointDisable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint off.
func (c *endpointDisable) Run(w *world) error {
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		var err error
		if ep.Enabled {
			ep.Enabled = false
			if ep, err = e.Put(ctx, ep); err != nil {
				return conflict(err)
			}
		}
		w.printf("%s is %s (revision %d)\n", ep.Survey, viewOf(ep).state(), ep.Revision)
		return nil
	})
}

type endpointRemove struct {
	endpointTarget `embed:""`
}

// Run removes the endpoint.
func (c *endpointRemove) Run(w *world) error {
	return c.with(w, showing(), func(ctx context.Context, e *editing) error {
		if err := e.Remove(ctx, e.survey, 0); err != nil {
			return conflict(err)
		}
		w.printf("%s has no endpoint any more: nothing is owed to it\n", e.survey)
		return nil
	})
}
