package consumer

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// TestTracingThatIsOffAllocatesNothing walks an event through every call that
// tracing adds to the path.
func TestTracingThatIsOffAllocatesNothing(t *testing.T) {
	s := newSpans(nil, "RESPONSES")
	e := events.Event{ID: "r1", Survey: "s1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Body: make([]byte, 1000)}
	meta := &jetstream.MsgMetadata{Timestamp: time.Now()}
	a := delivery.Attempt{Host: "hooks.test:443", Started: time.Now(), Took: time.Second, Verdict: delivery.Delivered, Status: 200}
	ctx := t.Context()
	var sent events.Event
	got := testing.AllocsPerRun(1000, func() {
		work, span := s.received(ctx, e, meta)
		over(s.phase(work, "look up"))
		over(s.phase(work, "admit"))
		sending, request := s.attempt(work, a.Host, 1)
		sent = carried(e, request)
		s.attempted(sending, request, a)
		settledAs(span, outcomeDelivered)
	})
	if got != 0 {
		t.Errorf("tracing that is off costs %v allocations an event", got)
	}
	if sent.Traceparent != e.Traceparent {
		t.Errorf("the publisher's traceparent was sent as %q", sent.Traceparent)
	}
}
