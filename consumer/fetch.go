package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/delivery/panics"
)

// pullPause is how long to wait after a pull that could not be made: NATS is
// away, or the consumer is.
const pullPause = 250 * time.Millisecond

// pull asks for as many messages as there are free slots, again and again,
// until ctx ends. A pull that is open then is left to expire: what it still
// brings is handled, so that no message sits in a dead inbox until AckWait.
func (c *Consumer) pull(ctx, work context.Context) {
	for ctx.Err() == nil {
		c.pulled.Store(time.Now().UnixNano())
		if c.mark.Alarm() != nil {
			c.received.Store(time.Now().UnixNano()) // nobody asks: that nothing arrives is no stall
			wait.For(ctx, orDuration(c.o.MarkInterval, time.Second))
			continue
		}
		n := c.slots.take(ctx)
		if n == 0 {
			return
		}
		asked := time.Now()
		batch, err := c.ask(ctx, n)
		if err != nil {
			c.slots.give(n)
			c.quiet.Warn(err, "events could not be pulled")
			c.lookSoon()
			wait.For(ctx, pullPause)
			continue
		}
		c.receivers.Go(func() { c.receive(ctx, work, batch, n, asked) })
	}
}

// ask opens one pull. After a reconnect the mark is looked at before anything
// is handled: the server that came back may have lost the consumer's state, and
// what it delivers then could be sent twice.
func (c *Consumer) ask(ctx context.Context, n int) (jetstream.MessageBatch, error) {
	cons, err := c.bind(ctx)
	if err != nil {
		return nil, err
	}
	batch, err := cons.Fetch(n, jetstream.FetchMaxWait(c.o.pullExpires()))
	if err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	if seen := c.js.Conn().Stats().Reconnects; seen != c.reconnects {
		if err := c.look(ctx); err != nil && !errors.Is(err, mark.ErrBusy) {
			return nil, err // the pull's messages stay unacknowledged
		}
		c.reconnects = seen
	}
	return batch, nil
}

// receive has every message of a pull handled and gives back the slots the pull did
// not fill. asked is when the pull was opened.
func (c *Consumer) receive(ctx, work context.Context, batch jetstream.MessageBatch, n int, asked time.Time) {
	got := 0
	defer func() { c.slots.give(n - got) }()
	defer c.o.Panics.Catch(panics.PlacePull, nil)
	for msg := range batch.Messages() {
		got++
		c.hands.do(errand{ctx: ctx, work: work, msg: msg, asked: asked})
	}
	now := time.Now().UnixNano()
	c.pulled.Store(now)
	if got > 0 {
		c.received.Store(now)
	}
	if err := batch.Error(); err != nil {
		c.pullFailed(ctx, err)
	}
}

// handleOne handles one message of a pull, and gives back its slot.
func (c *Consumer) handleOne(e errand) {
	defer c.slots.give(1)
	defer c.o.Panics.Catch(panics.PlaceSettle, nil)
	if lapsed(e.asked.Add(c.o.pullExpires()), time.Now(), c.o.Layout.Wait()) {
		c.metrics.settled[outcomeLeft].Inc()
		return
	}
	c.handle(e.ctx, e.work, e.msg, e.by)
}

// lapsed says that a message of a pull may have been given to another replica
// already: this process stood still, stopped or starved, with the message in its
// socket. Whether it was or not, it comes again; sending it now would send it twice.
// ended is when the pull had ended, and so the latest that the server sent it.
func lapsed(ended, now time.Time, ackWait time.Duration) bool { return now.Sub(ended) >= ackWait }

// pullFailed looks at the mark, which finds out what became of the consumer.
// The pause before the slots are given back keeps a missing consumer from
// being asked for thousands of times a second.
func (c *Consumer) pullFailed(ctx context.Context, err error) {
	if errors.Is(err, jetstream.ErrMaxBytesExceeded) || ctx.Err() != nil {
		return
	}
	c.unbind()
	c.lookSoon()
	wait.For(ctx, pullPause)
}
