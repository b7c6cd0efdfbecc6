package main

import (
	"context"
	"fmt"
	"time"

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
		on := &enabling{before: r, changed: !ep.Enabled || r.DisabledAt(ep.Revision)}
		if c.NoReplay {
			err = on.forget(ctx, e)
		}
		if err == nil && on.changed {
			ep.Enabled = true
			ep, err = e.Put(ctx, ep)
		}
		if err == nil && on.forgotten != 0 {
			// The lane's owner may have renewed its promise at that very moment.
			_, err = health.Waive(ctx, e.js, e.names, e.survey, on.forgotten)
		}
		if err != nil {
			return conflict(err)
		}
		w.printf("%s is %s (revision %d)\n", ep.Survey, viewOf(ep).state(), ep.Revision)
		on.tell(w, c.NoReplay, time.Now())
		return nil
	})
}

// enabling is one run of the command.
type enabling struct {
	before    health.Record
	changed   bool   // a new revision is written: the lane's owner begins anew with it
	forgotten uint64 // what is owed below this sequence is forgotten; 0: nothing is
}

// forget forgets what is owed up to now. It comes before the endpoint is switched
// on, and sent the first of it.
func (on *enabling) forget(ctx context.Context, e *editing) error {
	stream, err := e.js.Stream(ctx, e.names.Stream())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", e.names.Stream(), err)
	}
	next := stream.CachedInfo().State.LastSeq + 1
	owed, err := health.Waive(ctx, e.js, e.names, e.survey, next)
	if owed {
		on.forgotten = next
	}
	return err
}

// tell says what happens now.
func (on *enabling) tell(w *world, noReplay bool, now time.Time) {
	r := on.before
	if r.Disabled != nil {
		w.printf("it was disabled by %s since %s: %s\n", byWhom(r.Disabled.By), shortTime(r.Disabled.At), r.Disabled.Why)
	}
	if !on.changed {
		w.printf("it was enabled already: nothing was changed\n")
	}
	probe := ""
	switch {
	case r.Failing() && on.changed:
		probe = ", once it accepts"
		w.printf("one event is tried now; when it is accepted, the others follow at once\n")
	case r.Failing():
		probe = ", once it accepts"
		w.printf("it fails since %s, last: %s; one event is tried at %s\n", ago(r.Since, now), r.Reason, ahead(r.NextProbe, now))
	}
	switch {
	case on.forgotten != 0:
		w.printf("owed since sequence %d: forgotten up to sequence %d; what waits in its lane is sent\n", r.OwedFrom, on.forgotten-1)
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
