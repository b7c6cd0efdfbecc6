package consumer

import (
	"context"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// sweepEvery is how often attempts are looked at for having become slow.
const sweepEvery = 100 * time.Millisecond

// keepAdmission marks slow attempts while there are any.
func (c *Consumer) keepAdmission(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.gate.Sweep(now)
		case <-ctx.Done():
			return
		}
	}
}

// admitted is one attempt that the gate let through, or why it did not.
type admitted struct {
	attempt delivery.Attempt
	refusal admit.Refusal // empty when the attempt was made
	failing bool          // this attempt made the endpoint fail as a whole
}

// attemptAdmitted asks the gate, makes one attempt and tells of it.
func (c *Consumer) attemptAdmitted(work context.Context, t *delivery.Target, limit admit.Limit, e events.Event, seq uint64, m delivery.Meta) admitted {
	ticket, refusal := c.gate.Enter(work, e.Survey, t.Host(), limit)
	if ticket == nil {
		c.metrics.refused[refusal].Inc()
		return admitted{refusal: refusal}
	}
	a := c.sender.Send(work, t, e, m)
	failing := ticket.Leave(outcomeFor(a))
	c.metrics.attempted(a)
	c.o.History.Attempt(seq, a)
	c.o.Log.Info().Uint64("seq", seq).EmbedObject(a).Msg("attempt")
	return admitted{attempt: a, failing: failing}
}

// share is this replica's part of what an owner allows: limits hold across the
// fleet. A limit smaller than the fleet leaves each replica one at a time, or
// its part of the rate.
func (c *Consumer) share(l config.Limits) admit.Limit {
	n := max(len(c.leases.Replicas()), 1)
	limit := admit.Limit{PerSecond: l.RatePerSecond / float64(n)}
	if l.MaxInFlight > 0 {
		limit.InFlight = max(l.MaxInFlight/n, 1)
	}
	return limit
}

// outcomeFor is what an attempt's end means for admission.
func outcomeFor(a delivery.Attempt) admit.Outcome {
	switch {
	case a.Verdict == delivery.Delivered:
		return admit.Won
	case a.Verdict == delivery.Ours || a.Verdict == delivery.Dead || a.Reason == delivery.ReasonDNSOurs:
		return admit.Neither
	case a.Reason == delivery.ReasonTimeout:
		return admit.TimeOut
	default:
		return admit.Lost
	}
}
