package endpoints

import (
	"context"
	"fmt"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
)

// Enabled is what [Desk.Enable] did.
type Enabled struct {
	Endpoint  config.Endpoint
	Before    health.Record // what was known of it
	Changed   bool          // a new revision was written: the lane's owner begins anew with it
	Forgotten uint64        // what was owed below this sequence of the event stream is forgotten; 0: nothing is
}

// Enable ends whatever keeps an endpoint from being sent to: its owner's switch,
// and what the service found out about it. The lane's owner sees the new revision,
// clears what was disabled, and sends what is owed; with forget, what is owed up
// to now is not sent. An endpoint that is enabled already stays as it is.
func (d *Desk) Enable(ctx context.Context, ep config.Endpoint, forget bool) (Enabled, error) {
	r, _, err := health.Look(ctx, d.js, d.names, d.survey)
	if err != nil {
		return Enabled{}, err
	}
	on := Enabled{Endpoint: ep, Before: r, Changed: !ep.Enabled || r.DisabledAt(ep.Revision)}
	if forget {
		if on.Forgotten, err = d.forget(ctx); err != nil {
			return on, err
		}
	}
	if on.Changed {
		ep.Enabled = true
		if on.Endpoint, err = d.Put(ctx, ep); err != nil {
			return on, err
		}
	}
	if on.Forgotten != 0 {
		// The lane's owner may have renewed its promise at that very moment.
		_, err = health.Waive(ctx, d.js, d.names, d.survey, on.Forgotten)
	}
	return on, err
}

// forget forgets what is owed up to now, and gives the sequence below which that
// is. It comes before the endpoint is switched on, and sent the first of it.
func (d *Desk) forget(ctx context.Context) (uint64, error) {
	stream, err := d.js.Stream(ctx, d.names.Stream())
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", d.names.Stream(), err)
	}
	next := stream.CachedInfo().State.LastSeq + 1
	owed, err := health.Waive(ctx, d.js, d.names, d.survey, next)
	if !owed || err != nil {
		return 0, err
	}
	return next, nil
}

// Disable switches an endpoint off. One that is off already stays as it is.
func (d *Desk) Disable(ctx context.Context, ep config.Endpoint) (config.Endpoint, error) {
	if !ep.Enabled {
		return ep, nil
	}
	ep.Enabled = false
	return d.Put(ctx, ep)
}
