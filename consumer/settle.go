package consumer

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/events"
)

// conclusion is what was decided about a message, and how it is counted.
type conclusion struct {
	action  action
	outcome string              // one of the outcomes of the events counter
	letter  *deadletters.Letter // what to bury, with actBury
	parked  *lanes.Waiting      // what to park, with actPark
	survey  events.Survey       // whose event is owed, with actOwe
	refused admit.Refusal       // why admission let nothing be sent; empty when that is not why
	span    trace.Span          // of the event's stay here; nil where nothing is traced
}

// finish settles a message as decided. What is settled is remembered before the
// acknowledgement is sent, so that a redelivery that overtakes it is not sent
// to the endpoint again. It returns how that ended.
func (c *Consumer) finish(work context.Context, in arrival, f *flight, end conclusion) conclusion {
	span := end.span
	if end.action == actPark || end.action == actBury {
		c.hands.rest(in.hand)
	}
	end = c.custody(work, end)
	defer settledAs(span, end.outcome)
	in.way.count(end.outcome, in.Timestamp)
	inflight := in.way.inflight
	switch end.action {
	case actAck:
		inflight.settle(f.seq)
		c.ack(f.handle())
	case actBury:
		inflight.settle(f.seq)
		c.settle(func() error { return f.handle().TermWithReason(end.letter.Reason + ": now a dead letter") })
	case actPark:
		inflight.settle(f.seq)
		c.settle(func() error { return f.handle().TermWithReason("parked: " + end.parked.Reason) })
	case actOwe:
		c.o.History.Settled(deliverylog.KindOwed, end.survey, f.seq)
		inflight.settle(f.seq)
		c.settle(func() error { return f.handle().TermWithReason("owed: brought into its lane later") })
	case actReturn:
		inflight.leave(f.seq)
		c.returns.add(func() error { return f.handle().Nak() })
	case actLeave:
		inflight.leave(f.seq)
	}
	return end
}

// custody stores what is to be let go, before it is.
func (c *Consumer) custody(work context.Context, end conclusion) conclusion {
	switch end.action {
	case actBury:
		return c.bury(work, end)
	case actPark:
		return c.park(work, end)
	case actAck, actOwe, actLeave, actReturn:
	}
	return end
}

// park stores the event in its lane. Until the stream has confirmed it the event
// stays where it is: it comes again, and is recognised if the copy was stored.
func (c *Consumer) park(work context.Context, end conclusion) conclusion {
	if err := c.parker.Park(work, *end.parked); err != nil {
		c.metrics.noCustody[actPark].Inc()
		c.quiet.Warn(err, "an event could not be parked; it stays in the event stream, unacknowledged")
		return conclusion{action: actLeave, outcome: outcomeLeft}
	}
	c.o.History.Settled(deliverylog.KindParked, end.parked.Survey, end.parked.Source)
	return end
}

// bury stores the dead letter. Until the stream has confirmed it nothing is let
// go: the message comes again, and is buried again.
func (c *Consumer) bury(work context.Context, end conclusion) conclusion {
	if err := c.dead.Bury(work, *end.letter); err != nil {
		c.metrics.noCustody[actBury].Inc()
		c.quiet.Warn(err, "a dead letter could not be stored; its event waits")
		return conclusion{action: actLeave, outcome: outcomeLeft}
	}
	c.metrics.buried.Inc()
	c.o.History.Settled(deliverylog.KindDead, end.letter.Survey, end.letter.Source)
	return end
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

// dropped counts what is not told to the server after all. Nothing is lost by it:
// the message comes again, and what it decides is decided anew.
func (c *Consumer) dropped() {
	c.metrics.acksDropped.Inc()
	c.quiet.Warn(errTooMany, "an acknowledgement is dropped; its event comes again, and is sent once more if it was delivered")
}

var errTooMany = fmt.Errorf("%d acknowledgements wait for NATS already", maxLater)
