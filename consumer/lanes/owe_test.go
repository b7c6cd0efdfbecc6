package lanes

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// TestNoEventIsPromisedTwice: a backlog may outlive the promise that it was published
// under, when the whole fleet is away for some minutes. In two promises it would be
// brought, and delivered, twice.
func TestNoEventIsPromisedTwice(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects()})
		must(t, err)
		live, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		s := newShard(t.Context(), New(js, nil, Options{Health: board, MaxEvents: 1}), &leases.Lease{})
		s.read = true
		l := s.lane("s1")
		l.add(entry{src: 1, seq: 1}) // it is full
		publish := func(n int) {
			for range n {
				_, err := js.Publish(t.Context(), names.Subject("s1"), []byte("{}"))
				must(t, err)
			}
		}
		give := func(n int) {
			batch, err := live.FetchNoWait(n)
			must(t, err)
			for range batch.Messages() {
			}
			must(t, batch.Error())
		}
		promise := func(want ...string) {
			t.Helper()
			r, _ := board.Of("s1")
			s.promise(t.Context(), l, r, time.Now())
			r, _ = board.Of("s1")
			var got []string
			for _, p := range r.Promises() {
				got = append(got, fmt.Sprint(p.From, " for ", time.Until(p.Until).Round(time.Second)))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("promised is %q, want %q", got, want)
			}
		}
		publish(3)
		give(1)
		promise("2 for 2m0s")
		time.Sleep(time.Minute)
		publish(3) // the backlog, 2 to 6
		time.Sleep(10 * time.Minute)
		publish(3)
		give(2)
		promise("2 for 2m0s") // it is in this one as before, and what came since is as well
		time.Sleep(10 * time.Minute)
		publish(3)
		give(100)
		publish(1) // this one alone is new
		promise("2 for -8m0s", "13 for 2m0s")
	})
}

// TestWhatIsOwedOfAnotherStream: where a disabled endpoint began to fail behind the end of
// the event stream, that was noted of another one.
func TestWhatIsOwedOfAnotherStream(t *testing.T) {
	failed := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, v := range map[string]struct {
		from   uint64
		stream history
		want   uint64
	}{
		"its own":                              {80, history{first: 10, last: 100, given: 100, oldest: failed.Add(-time.Hour)}, 80},
		"its own, of which the start has left": {80, history{first: 90, last: 100, given: 100, oldest: failed.Add(time.Hour)}, 90},
		"one that was made since":              {80, history{first: 1, last: 20, given: 20, oldest: failed.Add(time.Hour)}, 1},
		"one that was made since, and purged":  {80, history{first: 15, last: 20, given: 20, oldest: failed.Add(time.Hour)}, 15},
		"one that was made since, and empty":   {80, history{}, 1},
		"one restored from an earlier copy":    {80, history{first: 10, last: 60, given: 60, oldest: failed.Add(-time.Hour)}, 61},
	} {
		l := &lane{disabled: true}
		if got := l.promiseFrom(health.Record{Since: failed, From: v.from}, v.stream); got != v.want {
			t.Errorf("%s: it is owed from %d on, want %d", name, got, v.want)
		}
	}
}
