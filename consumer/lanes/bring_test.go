package lanes

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// TestCopiesThatWereErasedBeforeTheyWereFedAreNotWaitedForForEver: the endpoint would be
// brought nothing more of what is owed to it.
func TestCopiesThatWereErasedBeforeTheyWereFedAreNotWaitedForForEver(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects()})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		publish := func(first, n int) {
			for i := range n {
				body := fmt.Sprintf(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","survey":{"id":"s1"},"response":{"id":"r%d"}}`, first+i)
				_, err := js.Publish(t.Context(), names.Subject("s1"), []byte(body))
				must(t, err)
			}
		}
		publish(1, 3)
		stream, err := js.Stream(t.Context(), names.Stream())
		must(t, err)
		_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err) // it has nothing to settle
		_, err = board.Owe(t.Context(), "s1", health.Promise{From: 1, Until: time.Now().Add(time.Hour).UTC()}, health.Stream{At: time.Now(), First: 1, Last: 3})
		must(t, err)
		lease, _ := leased(t, server, "s1")
		s := newShard(t.Context(), New(js, nil, Options{Health: board}), lease)
		s.read = true
		l := s.lane("s1")
		tend := func() {
			for s.tend(t.Context(), l); s.jobs > 0; s.jobs-- {
				(<-s.ended)()
			}
		}
		tend()
		if n := copies(t, js); n != 3 || !l.bringing {
			t.Fatalf("%d copies were brought, want 3; they are waited for: %v", n, l.bringing)
		}
		lanes, err := js.Stream(t.Context(), names.Lanes())
		must(t, err)
		must(t, lanes.Purge(t.Context()))
		if until := l.wake(); until.IsZero() || time.Until(until) > awaitMost {
			t.Errorf("nobody looks at the lane before %s", until)
		}
		time.Sleep(time.Until(l.awaitsTo) - time.Second)
		if tend(); !l.bringing {
			t.Error("they are not waited for as long as the feed may be away")
		}
		stored, err := js.Stream(t.Context(), names.Stream())
		must(t, err)
		must(t, stored.DeleteConsumer(t.Context(), names.Consumer()))
		publish(4, 2)
		_, err = stored.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err)
		time.Sleep(time.Second)
		tend()
		if n := copies(t, js); n != 2 {
			t.Errorf("%d copies of what else is owed were brought, want 2", n)
		}
	})
}

// TestWhatOthersPublishIsNothingToSettle: the platform's event stream may hold more than
// events, which the live consumer is not given.
func TestWhatOthersPublishIsNothingToSettle(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: append(names.Subjects(), "orders")})
		must(t, err)
		live, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, FilterSubjects: names.Subjects()})
		must(t, err)
		publish := func(subjects ...string) {
			for _, s := range subjects {
				_, err := js.Publish(t.Context(), s, nil)
				must(t, err)
			}
		}
		publish(names.Subject("s1"), names.Subject("s1"))
		for range 2 {
			msg, err := live.Next()
			must(t, err)
			must(t, msg.DoubleAck(t.Context()))
		}
		publish("orders", "orders")
		o := New(js, nil, Options{})
		h, err := o.history(t.Context())
		must(t, err)
		if h.last != 4 || h.given != 4 || h.settled != 4 {
			t.Errorf("given %d and settled %d of %d, want all", h.given, h.settled, h.last)
		}
		publish(names.Subject("s1"))
		if h, err = o.history(t.Context()); err != nil || h.given >= 5 || h.settled >= 5 {
			t.Errorf("given %d and settled %d of %d, and nobody has taken the last: %v", h.given, h.settled, h.last, err)
		}
	})
}
