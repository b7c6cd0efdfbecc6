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
		_ = f.handle().Nak() // when NATS is away AckWait does the same, later
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
		c.reacks.add(send)
	}
}

// maxReacks bounds what is kept while NATS is away. Only what was in hand when
// it went can be here, so the bound is far above any real use.
const maxReacks = 100_000

// reacks are acknowledgements that could not be sent.
type reacks struct {
	mu   sync.Mutex // guards sends
	list []func() error
}

func (r *reacks) add(send func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < maxReacks {
		r.list = append(r.list, send)
	}
}

// flush sends what it can and keeps the rest.
func (r *reacks) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.list[:0]
	for _, send := range r.list {
		if send() != nil {
			kept = append(kept, send)
		}
	}
	clear(r.list[len(kept):])
	r.list = kept
}
