package consumer

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/consumer/leases"
)

// countLooks is how many looks at the mark pass between two counts of what waits:
// five seconds' worth, for a question to every shard's loop.
const countLooks = 5

// countTime bounds one count; a shard that does not answer is left out of it.
const countTime = time.Second

// waitingMetrics are what waits in the lanes of this replica, and what every
// replica knows of endpoints that are not well.
type waitingMetrics struct {
	events, bytes, lanes, lanesFailing prometheus.Gauge
	shardsHeld, shards, replicas       prometheus.Gauge
	failing, disabled, owed            prometheus.Gauge
}

func newWaitingMetrics(reg prometheus.Registerer) waitingMetrics {
	m := waitingMetrics{
		events:       gauge("lane_events", "Events that wait in the lanes this replica owns; the sum over all replicas is what waits."),
		bytes:        gauge("lane_bytes", "Bodies of the events that wait in the lanes this replica owns."),
		lanes:        gauge("lanes", "Lanes that this replica owns and in which something waits, or whose endpoint is not well."),
		lanesFailing: gauge("lanes_failing", "Lanes that this replica owns and whose endpoint is probed or disabled."),
		shardsHeld:   gauge("shards_held", "Shards of the lanes that this replica owns; the sum over all replicas is webhooks_shards."),
		shards:       gauge("shards", "Shards of the lanes in all."),
		replicas:     gauge("replicas", "Replicas that lived when this one last looked, itself included."),
		failing:      gauge("endpoints_failing", "Endpoints that fail as a whole, known to every replica."),
		disabled:     gauge("endpoints_disabled", "Endpoints that were disabled because they answered 410 or failed for days, known to every replica."),
		owed:         gauge("endpoints_owed", "Endpoints that are owed events which their lane could not hold, known to every replica."),
	}
	reg.MustRegister(m.events, m.bytes, m.lanes, m.lanesFailing, m.shardsHeld, m.shards, m.replicas, m.failing, m.disabled, m.owed)
	return m
}

// keepCounting counts what waits until ctx ends. It asks memory alone.
func (c *Consumer) keepCounting(ctx context.Context) {
	tick := time.NewTicker(countLooks * orDuration(c.o.MarkInterval, time.Second))
	defer tick.Stop()
	for {
		c.countWaiting(ctx)
		c.countUnwell()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Consumer) countWaiting(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	n, m := c.owner.Count(ctx), c.metrics.waiting
	m.events.Set(float64(n.Events))
	m.bytes.Set(float64(n.Bytes))
	m.lanes.Set(float64(n.Lanes))
	m.lanesFailing.Set(float64(n.Failing))
	m.shardsHeld.Set(float64(c.shardsHeld()))
	m.shards.Set(float64(c.o.Layout.Names.ShardCount()))
	m.replicas.Set(float64(len(c.leases.Replicas())))
}

// own works on a shard, and knows meanwhile that it does.
func (c *Consumer) own(ctx context.Context, l *leases.Lease) {
	c.held.Store(l, struct{}{})
	defer c.held.Delete(l)
	c.owner.Own(ctx, l)
}

// shardsHeld counts the shards for which something may be started: a lease that
// could not be renewed holds nothing, even if nobody else has it.
func (c *Consumer) shardsHeld() (n int) {
	c.held.Range(func(l, _ any) bool {
		if l.(*leases.Lease).May() {
			n++
		}
		return true
	})
	return n
}

func (c *Consumer) countUnwell() {
	var failing, disabled, owed int
	for survey := range c.health.All() {
		r, _ := c.health.Of(survey)
		switch {
		case r.Disabled != nil:
			disabled++
		case r.Failing():
			failing++
		}
		if r.OwedFrom != 0 {
			owed++
		}
	}
	m := c.metrics.waiting
	m.failing.Set(float64(failing))
	m.disabled.Set(float64(disabled))
	m.owed.Set(float64(owed))
}
