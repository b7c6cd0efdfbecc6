package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/lanes"
)

// redrive hands every dead letter back into its lane, as the command does.
func (w *world) redrive() int {
	w.t.Helper()
	tally, err := deadletters.New(w.js, w.layout.Names).Redrive(w.t.Context(), deadletters.Filter{}, func(ctx context.Context, l deadletters.Letter) error {
		return lanes.Park(ctx, w.js, w.layout.Names, lanes.Waiting{
			Survey: l.Survey, EventID: l.EventID, Source: l.Source, Published: l.Published, Parked: time.Now(), Attempts: l.Attempts,
			Reason: "redriven", DueNow: true, Body: l.Body,
		})
	}, nil)
	must(w.t, err)
	if tally.Failed != 0 {
		w.t.Errorf("%d dead letters could not be handed back", tally.Failed)
	}
	return tally.Letters
}

func TestTenThousandRedrivenEventsAreDeliveredOnceEach(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		n := 10_000
		if raced {
			n = 1000
		}
		w.endpoint("s1").answers(500)
		w.start()
		ids := w.publishMany("s1", n)
		w.advance(time.Minute)
		w.remove("s1")
		w.advance(10 * time.Minute)
		if got := len(w.letters()); got != n {
			t.Fatalf("%d dead letters, want %d", got, n)
		}
		r := w.endpoint("s1").answers(200)
		if got := w.redrive(); got != n {
			t.Errorf("%d were handed back, want %d", got, n)
		}
		w.advance(10 * time.Minute)
		for _, id := range ids {
			if got := r.accepted(id); got != 1 {
				t.Fatalf("event %s was accepted %d times, want once", id, got)
			}
		}
		if got := len(w.letters()); got != 0 {
			t.Errorf("%d dead letters are left", got)
		}
		w.wantParked(0)
	})
}

// A stream that recognises what it had two minutes ago would swallow the second
// burial.
func TestWhatIsBuriedAgainWithinTwoMinutesIsStillThere(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(500)
		w.start()
		id := w.publish("s1")
		w.advance(10 * time.Second)
		w.remove("s1")
		w.advance(30 * time.Second)
		last := uint64(0)
		for range 3 {
			got := w.letters()
			if len(got) != 1 || got[0].EventID != id || got[0].Reason != "no-endpoint" || got[0].Sequence <= last {
				t.Fatalf("dead letters: %+v, after one of sequence %d", got, last)
			}
			last = got[0].Sequence
			if n := w.redrive(); n != 1 {
				t.Errorf("%d were handed back, want 1", n)
			}
			w.advance(30 * time.Second) // there is no endpoint: it is buried again
		}
		r := w.endpoint("s1").answers(200)
		w.redrive()
		w.advance(time.Minute)
		if got := r.accepted(id); got != 1 {
			t.Errorf("the event was accepted %d times, want once", got)
		}
		w.wantParked(0)
	})
}
