package consumer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// How long an event in a lane is left alone when nothing was sent. A change of
// its endpoint ends either at once.
const (
	heldDisabled = 10 * time.Minute // the owner has switched the endpoint off
	heldOurs     = 5 * time.Second  // something of ours is wrong, or of many others'
	heldSlow     = time.Second      // an attempt hangs; it ends within five
)

// othersSoon is how long before other replicas begin to try live events again a lane
// goes back to its share: an attempt takes five seconds, and the clocks of machines may
// differ by as much.
const othersSoon = 10 * time.Second

// fromLanes tries events that wait in lanes, through the same gate and client as
// the live path.
type fromLanes struct{ *Consumer }

// Ask implements lanes.Deliverer.
func (c fromLanes) Ask(ctx context.Context, survey events.Survey, probe bool) lanes.Result {
	target, limits, err := c.endpoints.Target(ctx, survey)
	switch {
	case errors.Is(err, config.ErrNoEndpoint) && limits.Revision != 0:
		return lanes.Result{Verdict: lanes.Held, Reason: "disabled", After: heldDisabled}
	case errors.Is(err, config.ErrNoEndpoint):
		return lanes.Result{} // to be buried
	case err != nil:
		c.unusable(err)
		return lanes.Result{Verdict: lanes.Held, Reason: err.Error(), After: heldOurs}
	}
	return held(c.gate.Ask(survey, target.Host(), c.laneLimit(survey, limits, probe)))
}

// held is what a refusal means for a lane.
func held(refusal admit.Refusal) lanes.Result {
	r := lanes.Result{Verdict: lanes.Held, Reason: string(refusal)}
	switch refusal {
	case "":
		return lanes.Result{}
	case admit.Failing:
		r.Probe = true
	case admit.Suspect, admit.Crowded:
		// Thousands of lanes may stand behind one host: they ask again spread out.
		r.After = heldOurs/2 + rand.N(heldOurs) //nolint:gosec // jitter is no secret
	case admit.Slow:
		r.After = heldSlow
	case admit.Full, admit.Limited: // what waits at the gate keeps the endpoint busy meanwhile
	}
	return r
}

// laneLimit is what an owner allows to its lane.
func (c *Consumer) laneLimit(survey events.Survey, l config.Limits, probe bool) admit.Limit {
	shares := laneShare
	if c.laneAlone(survey) {
		shares = everything
	}
	limit := c.share(l, shares)
	limit.Probe = probe
	return limit
}

// laneAlone says whether nobody but its lane tries a survey's events: its endpoint is
// only probed, or what comes is promised to be brought, and no replay sends what came
// before. That something is owed does not say so: a promise lapses minutes after the
// endpoint works again, and what it covers may wait for hours.
func (c *Consumer) laneAlone(survey events.Survey) bool {
	r, _ := c.health.Of(survey)
	return r.Probed() || r.PromisedAt(time.Now().Add(othersSoon)) && !c.replayed(survey)
}

// Deliver implements lanes.Deliverer.
func (c fromLanes) Deliver(ctx context.Context, w lanes.Waiting) (r lanes.Result) {
	defer c.o.Panics.Catch(panics.PlaceParked, func(p *panics.Panic) {
		c.o.Log.Error().Uint64("seq", w.Source).Str("panic", p.What).Msg("panic while handling a parked event; it becomes a dead letter")
		r = lanes.Result{Verdict: lanes.Bury, Reason: string(delivery.ReasonPanic), Detail: p.What, Stack: p.Stack}
	})
	target, limits, err := c.endpoints.Target(ctx, w.Survey)
	switch {
	case errors.Is(err, config.ErrNoEndpoint) && limits.Revision == 0:
		return lanes.Result{Verdict: lanes.Bury, Reason: lanes.ReasonNoEndpoint, Detail: "the endpoint was removed while the event waited"}
	case err != nil:
		c.unusable(err)
		return lanes.Result{Verdict: lanes.Held, Reason: err.Error(), After: heldOurs}
	}
	e := events.Event{
		ID: w.EventID, Kind: events.KindCompleted, Survey: w.Survey, Body: w.Body, Traceparent: w.Traceparent, Tracestate: w.Tracestate,
	}
	ctx, span := c.spans.waited(ctx, e, w.Parked, w.Source)
	defer over(span)
	got := c.attemptAdmitted(ctx, target, c.laneLimit(w.Survey, limits, w.Probe), e, w.Source, delivery.Meta{Number: w.Attempts + 1, Replay: w.Replay})
	if got.refusal != "" {
		return held(got.refusal)
	}
	return c.resultOf(got, w)
}

// resultOf is what an attempt's end means for an event in a lane.
func (c *Consumer) resultOf(got admitted, w lanes.Waiting) lanes.Result {
	a := got.attempt
	r := lanes.Result{Reason: string(a.Reason), Detail: a.Detail, After: a.After, Revision: a.Revision, Tried: a.Started}
	switch {
	case got.ours:
		r.Verdict, r.After = lanes.Held, heldOurs/2+rand.N(heldOurs) //nolint:gosec // jitter is no secret
	case a.Verdict == delivery.Delivered:
		r.Verdict = lanes.Done
		c.metrics.delivered(w.Published)
	case a.Verdict == delivery.Dead:
		r.Verdict = lanes.Bury
	case a.Verdict == delivery.Gone:
		r.Verdict = lanes.Gone
	case a.Verdict == delivery.Again && got.failing:
		r.Verdict = lanes.Failing
	case a.Verdict == delivery.Again:
		r.Verdict = lanes.Later
	default:
		r.Verdict = lanes.Held
	}
	return r
}
