package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// How long an event in a lane is left alone when nothing was sent. A change of
// its endpoint ends either at once.
const (
	heldDisabled = 10 * time.Minute // the owner has switched the endpoint off
	heldOurs     = 5 * time.Second  // something of ours is wrong
)

// fromLanes tries events that wait in lanes, through the same gate and client as
// the live path.
type fromLanes struct{ *Consumer }

// Deliver implements lanes.Deliverer.
func (c fromLanes) Deliver(ctx context.Context, w lanes.Waiting) (r lanes.Result) {
	defer func() {
		if p := recover(); p != nil {
			c.metrics.panics.Inc()
			c.o.Log.Error().Uint64("seq", w.Source).Str("panic", fmt.Sprint(p)).Str("stack", string(debug.Stack())).
				Msg("panic while handling a parked event; it becomes a dead letter")
			r = lanes.Result{Verdict: lanes.Bury, Reason: string(delivery.ReasonPanic), Detail: fmt.Sprint(p)}
		}
	}()
	target, limits, err := c.endpoints.Target(ctx, w.Survey)
	switch {
	case errors.Is(err, config.ErrNoEndpoint) && limits.Revision != 0:
		return lanes.Result{Verdict: lanes.Held, Reason: "disabled", After: heldDisabled}
	case errors.Is(err, config.ErrNoEndpoint):
		return lanes.Result{Verdict: lanes.Bury, Reason: "no-endpoint", Detail: "the endpoint was removed while the event waited"}
	case err != nil:
		return lanes.Result{Verdict: lanes.Held, Reason: err.Error(), After: heldOurs}
	}
	e := events.Event{
		ID: w.EventID, Kind: events.KindCompleted, Survey: w.Survey, Body: w.Body, Traceparent: w.Traceparent, Tracestate: w.Tracestate,
	}
	limit := c.share(limits)
	limit.Probe = w.Probe
	got := c.attemptAdmitted(ctx, target, limit, e, w.Source, delivery.Meta{Number: w.Attempts + 1})
	if got.refusal != "" {
		return lanes.Result{Verdict: lanes.Held, Reason: string(got.refusal), Probe: got.refusal == admit.Failing}
	}
	return c.resultOf(got, w)
}

// resultOf is what an attempt's end means for an event in a lane.
func (c *Consumer) resultOf(got admitted, w lanes.Waiting) lanes.Result {
	a := got.attempt
	r := lanes.Result{Reason: string(a.Reason), Detail: a.Detail, After: a.After}
	switch a.Verdict {
	case delivery.Delivered:
		r.Verdict = lanes.Done
		c.metrics.delivered(w.Published)
	case delivery.Dead:
		r.Verdict = lanes.Bury
	case delivery.Ours:
		r.Verdict, r.After = lanes.Held, heldOurs
	case delivery.Again, delivery.Gone:
		r.Verdict = lanes.Later
		if got.failing {
			r.Verdict = lanes.Failing
		}
	default:
		r.Verdict = lanes.Held
	}
	return r
}
