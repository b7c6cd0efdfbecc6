package consumer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// stallAfter is how long events may wait in the stream, with slots free and
// nothing arriving, before the consumer is bound anew: pull consumers have
// stalled after server restarts.
const stallAfter = 15 * time.Second

// binding is the consumer's handle, kept between pulls because looking it up
// costs a round trip.
type binding struct {
	cons atomic.Pointer[jetstream.Consumer]
}

func (c *Consumer) bind(ctx context.Context) (jetstream.Consumer, error) {
	if c.stalled(time.Now()) {
		c.metrics.rebinds.Inc()
		c.o.Log.Warn().Uint64("lag", c.backlog.Load()).Msg("nothing arrives in spite of lag; binding the consumer anew")
		c.received.Store(time.Now().UnixNano())
		c.unbind()
	}
	if cons := c.binding.cons.Load(); cons != nil {
		return *cons, nil
	}
	names := c.o.Layout.Names
	cons, err := c.js.Consumer(ctx, names.Stream(), names.Consumer())
	if err != nil {
		return nil, fmt.Errorf("bind consumer %s: %w", names.Consumer(), err)
	}
	c.binding.cons.Store(&cons)
	return cons, nil
}

func (c *Consumer) unbind() { c.binding.cons.Store(nil) }

// stalled says whether events have been waiting although this replica has been asking.
// What comes after a quiet hour has not been waiting for that hour.
func (c *Consumer) stalled(now time.Time) bool {
	since := max(c.received.Load(), c.lagging.Load())
	return c.backlog.Load() > 0 && now.Sub(time.Unix(0, since)) > stallAfter
}
