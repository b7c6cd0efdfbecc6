package deadletters_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/internal/bustest"
)

func TestFilter(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		begin := time.Now()
		for i, l := range []deadletters.Letter{
			{Survey: "a", EventID: "a1", Reason: "malformed"},
			{Survey: "_", EventID: "under", Reason: "malformed"},
			{EventID: "unknown", Reason: "malformed"},
			{Survey: "b", EventID: "b1", Reason: "panic"},
			{Survey: "a", EventID: "a2", Reason: "panic"},
		} {
			l.Source, l.Body = uint64(i), []byte("{}")
			must(t, w.store.Bury(t.Context(), l))
			time.Sleep(time.Minute)
		}
		at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes)*time.Minute - time.Second) }
		for name, c := range map[string]struct {
			f    deadletters.Filter
			want string
		}{
			"all":                          {deadletters.Filter{}, "a1 under unknown b1 a2"},
			"one survey":                   {deadletters.Filter{Survey: "a"}, "a1 a2"},
			"a survey without letters":     {deadletters.Filter{Survey: "c"}, ""},
			"the survey named _":           {deadletters.Filter{Survey: "_"}, "under"},
			"survey unknown":               {deadletters.Filter{Unknown: true}, "unknown"},
			"reason":                       {deadletters.Filter{Reason: "panic"}, "b1 a2"},
			"survey and reason":            {deadletters.Filter{Survey: "a", Reason: "panic"}, "a2"},
			"since":                        {deadletters.Filter{Since: at(3)}, "b1 a2"},
			"since after the last":         {deadletters.Filter{Since: at(50)}, ""},
			"until":                        {deadletters.Filter{Until: at(2)}, "a1 under"},
			"between":                      {deadletters.Filter{Since: at(1), Until: at(4)}, "under unknown b1"},
			"limit":                        {deadletters.Filter{Limit: 2}, "a1 under"},
			"limit counts what it meant":   {deadletters.Filter{Limit: 1, Reason: "panic"}, "b1"},
			"sequences, in the order told": {deadletters.Filter{Sequences: []uint64{5, 1}}, "a2 a1"},
			"sequences and a reason":       {deadletters.Filter{Sequences: []uint64{5, 1}, Reason: "panic"}, "a2"},
		} {
			if got := ids(w.list(c.f)); got != c.want {
				t.Errorf("%s: letters %q, want %q", name, got, c.want)
			}
			c.f.Bodies = true
			for _, l := range w.list(c.f) {
				if string(l.Body) != "{}" {
					t.Errorf("%s: letter %s came with body %q", name, l.EventID, l.Body)
				}
			}
		}
	})
}

func TestAnEmptyStoreHasNoLetters(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.wantIDs(deadletters.Filter{}, "")
		if _, err := w.store.Get(t.Context(), 1); !errors.Is(err, deadletters.ErrNoLetter) {
			t.Errorf("Get says %v", err)
		}
	})
}

func TestASequenceThatHoldsNothingIsSaid(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		must(t, w.store.Bury(t.Context(), letter("s", "r-1", 1)))
		var missing int
		for l, err := range w.store.List(t.Context(), deadletters.Filter{Sequences: []uint64{9, 1}}) {
			if errors.Is(err, deadletters.ErrNoLetter) {
				missing++
			} else if err != nil || l.EventID != "r-1" {
				t.Errorf("letter %+v, error %v", l, err)
			}
		}
		if missing != 1 {
			t.Errorf("%d sequences were reported, want 1", missing)
		}
	})
}

func TestListOverManyPages(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	const n = 1000
	w.buryMany(n)
	letters := w.list(deadletters.Filter{})
	if len(letters) != n {
		t.Fatalf("%d letters, want %d", len(letters), n)
	}
	if !slices.IsSortedFunc(letters, func(a, b deadletters.Letter) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Error("not the oldest first")
	}
	for l, err := range w.store.List(t.Context(), deadletters.Filter{}) {
		must(t, err)
		if l.Sequence == 300 {
			break // leaves no goroutine and no reader behind
		}
	}
	if n := w.readers(); n != 0 {
		t.Errorf("%d readers are left on the server", n)
	}
}

func TestListWhileLettersVanish(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.buryMany(600)
	n := 0
	for l, err := range w.store.List(t.Context(), deadletters.Filter{}) {
		must(t, err)
		if n++; l.Sequence == 10 { // the second page's, and the end's
			_, err := w.store.Purge(t.Context(), deadletters.Filter{}, false)
			must(t, err)
		}
	}
	if n < 10 || n > 600 {
		t.Errorf("%d letters were listed", n)
	}
}

func TestAListGoesOnWhereItWasCut(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		must(t, w.store.Bury(t.Context(), letter("s", "r-1", 1)))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range w.store.List(ctx, deadletters.Filter{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled list says %v", err)
			}
		}
		for _, lose := range []bustest.Part{bustest.TheWrite, bustest.TheAnswer} {
			w.wire.Cut(lose, "CONSUMER.MSG.NEXT")
			w.wantIDs(deadletters.Filter{}, "r-1")
			if w.wire.Armed() {
				t.Errorf("the list was never cut")
			}
		}
		synctest.Wait()
	})
}

// readers is how many consumers the dead letter stream has.
func (w *world) readers() int {
	w.t.Helper()
	s, err := w.js.Stream(w.ctx(), w.names.DeadLetters())
	must(w.t, err)
	return s.CachedInfo().State.Consumers
}

// buryMany buries letters r-00001 and on.
func (w *world) buryMany(n int) {
	w.t.Helper()
	var all errgroup.Group
	all.SetLimit(64)
	for i := 1; i <= n; i++ {
		all.Go(func() error { return w.store.Bury(w.ctx(), letter("s", id(i), uint64(i))) })
	}
	must(w.t, all.Wait())
}
