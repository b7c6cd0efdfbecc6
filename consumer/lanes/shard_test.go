package lanes

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// hourly is a schedule by which every event is due an hour after its parking.
func hourly(parked time.Time, _ string, _ time.Time) (time.Time, bool) {
	return parked.Add(time.Hour), true
}

// running runs the shard of s1 until the end of the test; end ends it sooner.
func running(t *testing.T, server *bustest.Server, o *Owner) (s *shard, wire *bustest.Wire, end func()) {
	t.Helper()
	lease, wire := leased(t, server, "s1")
	s = newShard(t.Context(), o, lease)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx)
	}()
	time.Sleep(time.Second)
	return s, wire, func() {
		stop()
		<-ended
	}
}

// in does something in the shard's loop, and returns when it is done.
func in(s *shard, do func()) {
	done := make(chan struct{})
	s.asked <- func() { do(); close(done) }
	<-done
}

// looks counts how often all lanes of a shard are looked at, up to a hundred times a second.
func looks(s *shard, while time.Duration) (n int) {
	var last time.Time
	in(s, func() { last = s.look })
	for until := time.Now().Add(while); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		in(s, func() {
			if !s.look.Equal(last) {
				n, last = n+1, s.look
			}
		})
	}
	return n
}

// TestNothingIsDoneOverAndOverOnceAllThatWasOwedIsBrought: what was to be brought was not
// before a moment that has passed, and another event of its lane waits for its own time.
func TestNothingIsDoneOverAndOverOnceAllThatWasOwedIsBrought(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects()})
		must(t, err)
		for range 3 {
			_, err := js.Publish(t.Context(), names.Subject("s1"), []byte("{}"))
			must(t, err)
		}
		_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		_, err = board.Owe(t.Context(), "s1", health.Promise{From: 4, Until: time.Now().Add(time.Second)}, health.Stream{At: time.Now(), First: 1, Last: 3})
		must(t, err)
		must(t, Park(t.Context(), js, names, Waiting{Survey: "s1", EventID: "r1", Source: 3, Parked: time.Now(), Published: time.Now(), Body: []byte("{}")}))
		s, _, end := running(t, server, New(js, &slow{}, Options{Health: board, Schedule: hourly}))
		defer end()
		time.Sleep(30 * time.Second)
		if r, _ := board.Of("s1"); r.OwedFrom != 0 {
			t.Fatalf("it is still owed: %+v", r)
		}
		if n := looks(s, time.Minute); n > 1 {
			t.Errorf("all lanes were looked at %d times in a minute in which nothing was to be done", n)
		}
	})
}
