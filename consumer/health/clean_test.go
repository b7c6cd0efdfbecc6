package health

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// failOnce has so many endpoints fail, and work again.
func failOnce(t *testing.T, b *Board, day string, n int) {
	t.Helper()
	for i := range n {
		survey := events.Survey(fmt.Sprintf("%s-%03d", day, i))
		must(t, b.Failed(t.Context(), survey, Failure{At: time.Now(), Reason: "timeout"}))
		must(t, b.Works(t.Context(), survey, time.Time{}))
	}
	synctest.Wait()
}

// stored is how many messages the bucket has.
func stored(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_"+events.Names{}.Health())
	must(t, err)
	return stream.CachedInfo().State.Msgs
}

// remembered is how many surveys a replica has in memory, for whatever reason.
func (b *Board) remembered() (n int) {
	b.records.Range(func(any, any) bool { n++; return true })
	return n
}

func withEventStream(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.Names{}.Stream(), Subjects: events.Names{}.Subjects()})
	must(t, err)
}

// TestWhatEndpointsThatFailedOnceLeaveDoesNotGrow: a marker stands for a day, for whoever
// watches, and for no longer; a replica forgets what is over within two readings.
func TestWhatEndpointsThatFailedOnceLeaveDoesNotGrow(t *testing.T) {
	const aDay, days = 60, 2
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		withEventStream(t, js)
		kv, err := js.KeyValue(t.Context(), events.Names{}.Health())
		must(t, err)
		watch, err := kv.WatchAll(t.Context())
		must(t, err)
		deleted := 0 // as somebody on the platform's side hears of it
		listening := make(chan struct{})
		go func() {
			defer close(listening)
			for e := range watch.Updates() {
				if e != nil && e.Operation() == jetstream.KeyValueDelete {
					deleted++
				}
			}
		}()
		var boards []*Board
		for range 2 {
			b, err := Open(t.Context(), js, events.Names{}, Options{LookEvery: 10 * time.Minute})
			must(t, err)
			defer b.Close()
			boards = append(boards, b)
		}
		must(t, boards[0].Failed(t.Context(), "still", Failure{At: time.Now(), Reason: "timeout"}))
		for day := range days {
			failOnce(t, boards[day%2], fmt.Sprint("day", day), aDay)
			time.Sleep(3 * time.Hour)
			if n := stored(t, js); n < aDay {
				t.Errorf("three hours later the bucket has %d messages, and %d endpoints worked again: who was cut off does not hear of it", n, aDay)
			}
			for i, b := range boards {
				if n := b.remembered(); n != 1 {
					t.Errorf("replica %d has %d surveys in memory, and one endpoint fails", i, n)
				}
			}
			time.Sleep(21 * time.Hour)
			if n := stored(t, js); n > 2*aDay {
				t.Errorf("on day %d the bucket has %d messages", day, n)
			}
		}
		time.Sleep(24 * time.Hour)
		if n := stored(t, js); n != 1 {
			t.Errorf("in the end the bucket has %d messages, and one endpoint fails", n)
		}
		for _, b := range boards {
			if r, known := b.Of("still"); !known || !r.Failing() {
				t.Errorf("the one that fails is known as %+v", r)
			}
		}
		must(t, watch.Stop())
		<-listening
		if deleted != days*aDay {
			t.Errorf("who watches has heard of %d that work again, want %d", deleted, days*aDay)
		}
	})
}

// TestOnlyAMarkerIsRemoved: a record may have been written since it was read, and where
// the bucket was restored another may stand in its place.
func TestOnlyAMarkerIsRemoved(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		withEventStream(t, js)
		b := open(t, js)
		defer b.Close()
		failOnce(t, b, "s", 3)
		kv, err := js.KeyValue(t.Context(), events.Names{}.Health())
		must(t, err)
		var old []marker
		w, err := kv.WatchAll(t.Context())
		must(t, err)
		for e := range w.Updates() {
			if e == nil {
				break
			}
			old = append(old, marker{events.Survey(e.Key()), e.Revision()})
		}
		must(t, w.Stop())
		must(t, b.Failed(t.Context(), "s-000", Failure{At: time.Now(), Reason: "timeout"}))
		must(t, b.Failed(t.Context(), "other", Failure{At: time.Now(), Reason: "timeout"}))
		other, err := kv.Get(t.Context(), "other")
		must(t, err)
		old = append(old, marker{"other", other.Revision()}, marker{"s-001", other.Revision()}, marker{"nobody", other.Revision()})
		must(t, b.clean(t.Context(), old, b.created.Add(time.Second)))
		if n := stored(t, js); n != 4 {
			t.Errorf("%d messages are left of 4, and what was read was another bucket", n)
		}
		must(t, b.clean(t.Context(), old, b.created))
		must(t, b.clean(t.Context(), old, b.created)) // another replica was first: no error
		if n := stored(t, js); n != 2 {
			t.Errorf("%d messages are left, want the two records", n)
		}
		for _, survey := range []string{"s-000", "other"} {
			if _, err := kv.Get(t.Context(), survey); err != nil {
				t.Errorf("the record of %s: %v", survey, err)
			}
		}
	})
}
