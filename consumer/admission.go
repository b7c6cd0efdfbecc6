package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// sweepEvery is how often attempts are looked at for having become slow.
const sweepEvery = 100 * time.Millisecond

// keepAdmission marks slow attempts while there are any, and forgets idle
// endpoints a while after the last. Attempts that come one at a time begin anew
// again and again: they must not put the next look off.
func (c *Consumer) keepAdmission(ctx context.Context) {
	timer := time.NewTimer(admit.IdleAfter)
	defer timer.Stop()
	idle := true // the timer runs for long
	for {
		select {
		case <-c.gate.Busy():
			if idle {
				idle = false
				timer.Reset(sweepEvery)
			}
		case now := <-timer.C:
			c.gate.Sweep(now)
			if idle = c.gate.Flying() == 0; idle {
				timer.Reset(admit.IdleAfter)
			} else {
				timer.Reset(sweepEvery)
			}
		case <-ctx.Done():
			return
		}
	}
}

// admitted is one attempt that the gate let through, or why it did not.
type admitted struct {
	attempt delivery.Attempt
	refusal admit.Refusal // empty when the attempt was made
	ours    bool          // it failed, and that is nobody's fault but ours
	failing bool          // this attempt made the endpoint fail as a whole
}

// attemptAdmitted asks the gate, makes one attempt and tells of it.
func (c *Consumer) attemptAdmitted(work context.Context, t *delivery.Target, limit admit.Limit, e events.Event, seq uint64, m delivery.Meta) admitted {
	waiting := c.spans.phase(work, "admit")
	ticket, refusal := c.gate.Enter(work, e.Survey, t.Host(), limit)
	over(waiting)
	if ticket == nil {
		c.metrics.refused[refusal].Inc()
		return admitted{refusal: refusal}
	}
	ended := false
	defer func() {
		if !ended { // by a panic: an attempt that never ends would keep all others from its endpoint
			ticket.Leave(admit.Neither)
		}
	}()
	sending, span := c.spans.attempt(work, t.Host(), m.Number)
	a := c.sender.Send(sending, t, carried(e, span), m)
	c.spans.attempted(sending, span, a)
	ours := a.Verdict == delivery.Ours || a.Reason == delivery.ReasonDNSOurs && c.resolverFails(a)
	ended = true
	failing := ticket.Leave(outcomeFor(a, ours))
	c.metrics.attempted(a)
	c.o.History.Attempt(seq, a)
	c.o.Log.Info().Uint64("seq", seq).EmbedObject(a).Msg("attempt")
	return admitted{attempt: a, failing: failing, ours: ours}
}

// resolverFails notes that the name service did not answer for an endpoint, and
// says whether it fails for everybody.
func (c *Consumer) resolverFails(a delivery.Attempt) bool {
	if !c.resolver.ours(a.Host, time.Now()) {
		return false
	}
	c.metrics.resolver.Inc()
	c.quiet.Warn(errors.New(a.Detail), "the name service fails for many hosts at once: that is ours to mend, events wait; look at this machine's resolver")
	return true
}

// share is this replica's part of what an owner allows: limits hold across the
// fleet. Each replica has an equal share, and the owner of the lane one more; it
// has everything while nobody else tries any, see [Consumer.laneAlone]. A limit smaller
// than the fleet leaves each replica one at a time, or its part of the rate.
func (c *Consumer) share(l config.Limits, shares int) admit.Limit {
	all := max(len(c.leases.Replicas()), 1) + 1
	if shares == everything {
		shares = all
	}
	limit := admit.Limit{PerSecond: l.RatePerSecond * float64(shares) / float64(all)}
	if l.MaxInFlight > 0 {
		limit.InFlight = max(l.MaxInFlight*shares/all, 1)
	}
	return limit
}

// Shares of an owner's limits. The gate counts a replica's live attempts and its
// lanes' together, so the owner of a lane has two: its own, and the one more.
const (
	liveShare  = 1
	laneShare  = 2
	everything = -1
)

// outcomeFor is what an attempt's end means for admission.
func outcomeFor(a delivery.Attempt, ours bool) admit.Outcome {
	switch {
	case a.Verdict == delivery.Delivered:
		return admit.Won
	case ours || a.Verdict == delivery.Dead:
		return admit.Neither
	case a.Reason == delivery.ReasonTimeout:
		return admit.TimeOut
	case a.After > rideBase: // a shorter wait is ridden over
		return admit.Asked
	default:
		return admit.Lost
	}
}
