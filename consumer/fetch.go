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

// ask opens one pull. After a reconnect the mark is looked at first: the server that
// came back may have lost the consumer's state, and what it delivers then could be
// sent twice. Until a look has gone well no pull is open: nobody would handle what it
// brings, and that would wait for AckWait.
func (c *Consumer) ask(ctx context.Context, n int) (jetstream.MessageBatch, error) {
	if seen := c.js.Conn().Stats().Reconnects; seen != c.reconnects {
		if err := c.look(ctx); err != nil && !errors.Is(err, mark.ErrBusy) {
			return nil, err
		}
		c.reconnects = seen
	}
	cons, err := c.bind(ctx)
	if err != nil {
		return nil, err
	}
	batch, err := cons.Fetch(n, jetstream.FetchMaxWait(c.o.pullExpires()))
	if err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	if c.js.Conn().Stats().Reconnects != c.reconnects {
		giveBack(batch)
		return nil, errReconnected
	}
	return batch, nil
}

var errReconnected = errors.New("NATS was away between the look at the mark and the pull; what it brought is given back, and both are done again")

// giveBack gives back what a pull brings, once it has ended: while it is open it would
// bring that again.
func giveBack(batch jetstream.MessageBatch) {
	var brought []jetstream.Msg
	for msg := range batch.Messages() {
		brought = append(brought, msg)
	}
	for _, msg := range brought {
		if msg.Nak() != nil {
			return // NATS is away again; the server gives them to somebody after AckWait
		}
	}
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
