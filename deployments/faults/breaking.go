package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// breaking is what one fault does, as far as it is known while it lasts.
type breaking struct {
	turned   time.Time // when half of the flapping endpoints began to work
	behind   time.Duration
	exposed  int       // events that it may have had delivered twice
	ackless  []stretch // when acknowledgements were not kept, whoever led
	laneless []stretch // when what lanes had delivered could not be removed from them
	wrong    []string  // what nobody else finds out

	consumer, lanes *watch // who leads them; nil: nothing happens to nodes
}

// begin prepares for a fault.
func (d *deployment) begin(ctx context.Context, f fault) breaking {
	b := breaking{turned: time.Now(), behind: behind}
	if !f.headless {
		return b
	}
	b.behind = behindNodes
	b.consumer = startWatch(ctx, func(ctx context.Context) (*jetstream.ClusterInfo, error) {
		cons, err := d.js.Consumer(ctx, names.Stream(), names.Consumer())
		if err != nil {
			return nil, err
		}
		return led(cons.CachedInfo().Cluster)
	})
	b.lanes = startWatch(ctx, func(ctx context.Context) (*jetstream.ClusterInfo, error) {
		stream, err := d.js.Stream(ctx, names.Lanes())
		if err != nil {
			return nil, err
		}
		return led(stream.CachedInfo().Cluster)
	})
	return b
}

func led(c *jetstream.ClusterInfo) (*jetstream.ClusterInfo, error) {
	if c != nil && c.Leader == "" {
		return nil, errors.New("it has no leader")
	}
	return c, nil
}

func (b *breaking) end() {
	b.consumer.end()
	b.lanes.end()
}

// headless is the longest time since a moment in which nobody led the live consumer, who
// has a quorum of its own: NATS acknowledges events meanwhile, and delivers none. One that
// comes back while the others vote may make them begin again, after up to nine seconds.
func (b *breaking) headless(since time.Time) (longest time.Duration) {
	for _, s := range b.consumer.missing(time.Now(), lookMissing) {
		if s.from.Before(since) {
			s.from = since
		}
		longest = max(longest, s.to.Sub(s.from))
	}
	return longest
}

// fault notes that something is about to be broken, and how many duplicates that
// may make.
func (d *deployment) fault() { d.breaking.exposed += d.ledger.exposed(d.breaking.behind) }

// complain notes what a fault itself has found.
func (b *breaking) complain(what string) { b.wrong = append(b.wrong, what) }

// mayRepeat is how many duplicates there may have been since the last check: what the
// fault exposed, and what was answered while nobody kept an acknowledgement, but for
// lanes, which do without the live consumer's leader; of lanes what was answered while nothing could be removed from them, what stood there before
// although it had been delivered, and what they have delivered between the check and the
// fault.
func (d *deployment) mayRepeat(began, now time.Time) int {
	unkept, _ := d.ledger.answered(d.breaking.ackless)
	headless, ofLanes := d.ledger.answered(d.breaking.consumer.missing(now, lookMissing))
	_, unremoved := d.ledger.answered(slices.Concat(d.breaking.lanes.missing(now, lookMissing), d.breaking.laneless))
	return d.breaking.exposed + unkept + headless - ofLanes + unremoved + d.standing + d.sinceLooked(began)
}

// sinceLooked is how much lanes may have delivered from the last look at them until a
// moment.
func (d *deployment) sinceLooked(until time.Time) int {
	if d.looked.IsZero() {
		return 0
	}
	_, late := d.ledger.answered([]stretch{{d.looked, until}})
	return late
}
