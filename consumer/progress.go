package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// progressAfter is how long a message may be in hand before the server is told
// that work goes on; most are done long before.
const progressAfter = time.Second

// keepProgress is the one ticker of the process that keeps what is in hand from
// being delivered again. It also re-sends acknowledgements that could not be
// sent, and ages the memory of what was settled.
func (c *Consumer) keepProgress(ctx context.Context) {
	tick := time.NewTicker(c.o.Layout.Wait() / 6) // five more chances before AckWait
	defer tick.Stop()
	aged := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.tellProgress(now)
			c.unsent.flush()
			if now.Sub(aged) >= settledFor {
				aged = now
				c.eachWay(func(w *way) { w.inflight.age() })
			}
		}
	}
}

func (c *Consumer) tellProgress(now time.Time) {
	var old []jetstream.Msg
	c.eachWay(func(w *way) {
		w.inflight.each(func(f *flight) {
			if now.Sub(f.since) >= progressAfter {
				old = append(old, f.handle())
			}
		})
	})
	for _, msg := range old {
		// One that was settled since it was looked at says so; the others still need it.
		if err := msg.InProgress(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
			return // NATS is away; redeliveries are recognised when it is back
		}
	}
}
