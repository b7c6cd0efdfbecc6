package deadletters_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
)

// takeBody is where an event is handed back to, to look at its bytes.
func takeBody(into *[]byte) func(context.Context, deadletters.Letter) error {
	return func(_ context.Context, l deadletters.Letter) error {
		*into = l.Body
		return nil
	}
}

func TestRedriveOfTenThousand(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	const n = 10_000
	w.buryMany(n)
	var seen int
	tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, w.park, func(_ deadletters.Letter, err error) {
		must(t, err)
		seen++
	})
	must(t, err)
	if tally.Letters != n || tally.Failed != 0 || seen != n {
		t.Errorf("redriven %+v, %d told of", tally, seen)
	}
	parked := w.parked()
	if len(parked) != n {
		t.Errorf("%d events are in their lanes, want %d", len(parked), n)
	}
	for id, times := range parked {
		if times != 1 {
			t.Errorf("event %s is there %d times", id, times)
		}
	}
	w.wantIDs(deadletters.Filter{}, "")
}

func TestBuriedRedrivenAndBuriedAgainIsStillThere(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := letter("s", "r-1", 1)
		for range 3 {
			must(t, w.store.Bury(t.Context(), l))
			w.wantIDs(deadletters.Filter{}, "r-1")
			tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, w.park, nil)
			if err != nil || tally.Letters != 1 {
				t.Errorf("redriven %+v, %v", tally, err)
			}
			time.Sleep(time.Second)
		}
		must(t, w.store.Bury(t.Context(), l))
		w.wantIDs(deadletters.Filter{}, "r-1")
	})
}

func TestALetterThatComesBackIsNotRedrivenForEver(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(300)
	var calls atomic.Int64
	tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, func(ctx context.Context, l deadletters.Letter) error {
		calls.Add(1)
		return w.store.Bury(ctx, l)
	}, nil)
	if err != nil || tally.Letters != 300 || calls.Load() != 300 {
		t.Errorf("redriven %+v, %v, in %d calls", tally, err, calls.Load())
	}
	if n := len(w.list(deadletters.Filter{})); n != 300 {
		t.Errorf("%d letters, want 300", n)
	}
}

func TestWhatCannotBeHandedBackStaysAndTheOthersGoOn(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(20)
	full := errors.New("the lane is full")
	tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, func(ctx context.Context, l deadletters.Letter) error {
		if l.Source%2 == 0 {
			return full
		}
		return w.park(ctx, l)
	}, func(l deadletters.Letter, err error) {
		if failed := l.Source%2 == 0; failed != errors.Is(err, full) {
			t.Errorf("letter %d was told of with %v", l.Sequence, err)
		}
	})
	if err != nil || tally.Letters != 10 || tally.Failed != 10 {
		t.Errorf("redriven %+v, %v", tally, err)
	}
	if n := len(w.list(deadletters.Filter{})); n != 10 || len(w.parked()) != 10 {
		t.Errorf("%d letters and %d events in lanes, want 10 and 10", n, len(w.parked()))
	}
}

// The runtime would print what a panic had in hand, and leave the other letters.
func TestAPanicOverALetterLeavesItAndShowsNothing(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(20)
	var told []error // of letter 7
	hear := func(l deadletters.Letter, err error) {
		if l.Source == 7 {
			told = append(told, err)
		}
	}
	for _, progress := range []func(deadletters.Letter, error){nil, hear} {
		tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, func(ctx context.Context, l deadletters.Letter) error {
			if l.Source == 7 {
				panic("planted-" + string(l.Body))
			}
			return w.park(ctx, l)
		}, progress)
		p, is := errors.AsType[*panics.Panic](err)
		if !is || !strings.Contains(p.Stack, "redrive_test.go:") || tally.Failed != 1 {
			t.Fatalf("redriven %+v, %v", tally, err)
		}
		left := w.list(deadletters.Filter{})
		if len(left) != 1 || left[0].Source != 7 || len(w.parked()) != 19 {
			t.Fatalf("%d letters and %d events in lanes, want 1 and 19", len(left), len(w.parked()))
		}
		if want := fmt.Sprintf("dead letter %d: panic", left[0].Sequence); strings.Count(err.Error(), want) != 1 {
			t.Errorf("it ended with %q, want %q in it once", err, want)
		}
		leaktest.Plant(t, "planted-").InValue(t, "the error", err)
	}
	if len(told) != 1 || !errors.As(told[0], new(*panics.Panic)) {
		t.Errorf("whoever hears of letters was told %v of this one, want the panic", told)
	}
}

func TestTwoWhoRedriveAtOnceLoseNothing(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(500)
	done := make(chan deadletters.Tally)
	for range 2 {
		go func() {
			tally, err := w.store.Redrive(context.Background(), deadletters.Filter{}, w.park, nil)
			if err != nil && !errors.Is(err, deadletters.ErrNoLetter) {
				t.Errorf("redrive: %v", err)
			}
			done <- tally
		}()
	}
	if a, b := <-done, <-done; a.Failed+b.Failed != 0 || a.Letters+b.Letters < 500 {
		t.Errorf("redriven %+v and %+v", a, b)
	}
	for i := 1; i <= 500; i++ {
		if n := w.parked()[id(i)]; n < 1 || n > 2 {
			t.Fatalf("event %s is in its lane %d times", id(i), n)
		}
		i += 49 // reading the lane is slow; a tenth proves it
	}
	w.wantIDs(deadletters.Filter{}, "")
}

func TestRedriveStopsWhenItIsTold(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(1000)
	ctx, cancel := context.WithCancel(t.Context())
	tally, err := w.store.Redrive(ctx, deadletters.Filter{}, w.park, func(l deadletters.Letter, _ error) {
		if l.Source == 100 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("redrive ends with %v", err)
	}
	if left := len(w.list(deadletters.Filter{})); tally.Letters+left != 1000 || left == 0 {
		t.Errorf("%+v, and %d letters are left of 1000", tally, left)
	}
	if parked := len(w.parked()); parked < tally.Letters {
		t.Errorf("%d events in lanes, %d letters gone", parked, tally.Letters)
	}
}

func TestPurge(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(300)
	must(t, w.store.Bury(t.Context(), letter("other", "keep", 1)))
	f := deadletters.Filter{Survey: "s"}
	want, err := w.store.Purge(t.Context(), f, true)
	must(t, err)
	if want.Letters != 300 || want.Bytes != 300*int64(len("body of r-00001")) || len(w.list(f)) != 300 {
		t.Errorf("a dry run counts %+v and leaves %d letters", want, len(w.list(f)))
	}
	got, err := w.store.Purge(t.Context(), f, false)
	if err != nil || got != want {
		t.Errorf("purged %+v, %v; the dry run said %+v", got, err, want)
	}
	w.wantIDs(deadletters.Filter{}, "keep")
	if _, err := w.store.Purge(t.Context(), deadletters.Filter{Sequences: []uint64{1}}, false); !errors.Is(err, deadletters.ErrNoLetter) {
		t.Errorf("purging what is gone says %v", err)
	}
}
