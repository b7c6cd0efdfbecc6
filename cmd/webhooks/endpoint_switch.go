package main

import (
	"context"

	"github.com/popsee/webhooks/config"
)

type endpointEnable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint on.
func (c *endpointEnable) Run(w *world) error { return c.turn(w, true) }

type endpointDisable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint off.
func (c *endpointDisable) Run(w *world) error { return c.turn(w, false) }

func (t endpointTarget) turn(w *world, on bool) error {
	return t.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		var err error
		if ep.Enabled != on {
			ep.Enabled = on
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
