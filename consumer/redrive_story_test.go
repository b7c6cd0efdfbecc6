package consumer_test

import (
	"context"
	"strconv"
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
			Survey: l.Survey, EventID: l.EventID, Source: l.Source, Published: l.Published, Parked: time.Now(),
			Attempts: l.Attempts, First: l.First, Last: l.Last,
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

// TestADeadLetterTellsWhenAndHowOftenItWasTried: of an event that failed by itself for 72
// hours in which its endpoint worked, of the same after it was redriven, and of one that
// was never tried.
func TestADeadLetterTellsWhenAndHowOftenItWasTried(t *testing.T) {
	if raced {
		return // three days are a minute, and task test:stories tells of them
	}
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1")
		w.start()
		poison := w.publishPoison(r, "s1")[0]
		for range 73 {
			w.publish("s1")
			w.advance(time.Hour)
		}
		letters, tries := w.letters(), r.tries(poison)
		if len(letters) != 1 || len(tries) < 10 {
			t.Fatalf("%d tries and %d dead letters", len(tries), len(letters))
		}
		l := letters[0]
		if l.EventID != poison || string(l.Body) != w.published[poison].body || l.Reason != "gave-up: 4xx" {
			t.Errorf("the dead letter is %+v", l)
		}
		first, last := tries[0].at, tries[len(tries)-1].at
		if l.Attempts != len(tries) || l.First.Sub(first).Abs() > 5*time.Second || l.Last.Sub(last).Abs() > time.Second {
			t.Errorf("it was tried %d times from %s to %s; want %d, from %s to %s", l.Attempts, l.First, l.Last, len(tries), first, last)
		}
		w.redrive()
		w.advance(time.Second)
		tries = r.tries(poison)
		if again := tries[len(tries)-1]; again.attempt != strconv.Itoa(l.Attempts+1) || len(tries) != l.Attempts+1 {
			t.Errorf("redriven, it was tried %d times; the last says that it is number %s", len(tries), again.attempt)
		}
		r.answers(500)
		w.advance(10 * time.Minute)
		for range 5 {
			w.publish("s1")
		}
		w.advance(10 * time.Second)
		untried := w.publish("s1")
		w.advance(time.Second)
		w.remove("s1")
		w.advance(10 * time.Minute)
		for _, again := range w.letters() {
			tries := r.tries(again.EventID)
			switch {
			case again.Reason != "no-endpoint" || again.Attempts != len(tries):
				t.Errorf("removed with its endpoint after %d tries, it is %+v", len(tries), again)
			case again.EventID == poison && !again.First.Equal(l.First):
				t.Errorf("tried first at %s, redriven, it was so at %s", l.First, again.First)
			case again.EventID == untried && (again.Attempts != 0 || !again.First.IsZero() || !again.Last.IsZero()):
				t.Errorf("never tried, it was so %d times from %s to %s", again.Attempts, again.First, again.Last)
			}
		}
		if n := len(w.letters()); n != 7 {
			t.Errorf("%d dead letters, want all 7", n)
		}
	})
}
