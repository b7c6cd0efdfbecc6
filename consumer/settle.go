package consumer

import (
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// conclusion is what was decided about a message, and how it is counted.
type conclusion struct {
	action  action
	outcome string // one of the outcomes of the events counter
	why     string // the reason given to Term
}

// finish settles a message as decided. What is settled is remembered before the
// acknowledgement is sent, so that a redelivery that overtakes it is not sent
// to the endpoint again.
func (c *Consumer) finish(f *flight, meta *jetstream.MsgMetadata, end conclusion) {
	if end.outcome == outcomeDelivered {
		c.metrics.delivered(meta.Timestamp)
	} else {
		c.metrics.settled[end.outcome].Inc()
	}
	switch end.action {
	case actAck:
		c.inflight.settle(f.seq)
		c.ack(f.handle())
	case actBury:
		c.inflight.settle(f.seq)
		c.settle(func() error { return f.handle().TermWithReason(end.why) })
	case actReturn:
		c.inflight.leave(f.seq)
		c.returns.add(func() error { return f.handle().Nak() })
	case actLeave:
		c.inflight.leave(f.seq)
	}
}

func (c *Consumer) ack(msg jetstream.Msg) { c.settle(msg.Ack) }

// settle sends an acknowledgement; one that cannot be sent now is kept and sent
// when NATS is back, because the receiver has the event already.
func (c *Consumer) settle(send func() error) {
	if err := send(); err != nil {
		c.metrics.ackErrors.Inc()
		c.unsent.add(send)
	}
}

// maxLater bounds what is kept for later. Only what was in hand at one moment
// can be here, so the bound is far above any real use.
const maxLater = 100_000

// later is what to tell the server when it can be told: acknowledgements while
// NATS is away, and, at a stop, what another replica may take at once.
type later struct {
	mu   sync.Mutex // guards list
	list []func() error
}

func (l *later) add(send func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) < maxLater {
		l.list = append(l.list, send)
	}
}

// flush sends what it can and keeps the rest.
func (l *later) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.list[:0]
	for _, send := range l.list {
		if send() != nil {
			kept = append(kept, send)
		}
	}
	clear(l.list[len(kept):])
	l.list = kept
}
