package consumer

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// peak counts what is under way at once.
type peak struct{ now, most atomic.Int64 }

func (p *peak) during(f func()) {
	n := p.now.Add(1)
	for most := p.most.Load(); n > most && !p.most.CompareAndSwap(most, n); most = p.most.Load() {
	}
	f()
	p.now.Add(-1)
}

// handAll handles n messages that take d each, and says how many were under way at
// once and how many hands were left.
func handAll(t *testing.T, n int, d time.Duration) (most, left int) {
	t.Helper()
	var p peak
	h := newHands(func(errand) { p.during(func() { time.Sleep(d) }) })
	ctx, cancel := context.WithCancel(t.Context())
	var lending sync.WaitGroup
	lending.Go(func() { h.lend(ctx) })
	for range n {
		h.do(errand{})
	}
	time.Sleep(2 * d)
	synctest.Wait()
	h.mu.Lock()
	left = len(h.all)
	h.mu.Unlock()
	h.finish()
	cancel()
	lending.Wait()
	if got := len(h.turns); got != cap(h.turns) {
		t.Errorf("%d turns of %d were given back", got, cap(h.turns))
	}
	if len(h.all) != 0 {
		t.Errorf("%d hands did not end", len(h.all))
	}
	return int(p.most.Load()), left
}

func TestWhatIsDoneAtOnceIsNotBegunByTheThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		most, _ := handAll(t, 2000, turnTime/2)
		if turns := turnsEach * runtime.GOMAXPROCS(0); most > turns {
			t.Errorf("%d messages were begun at once, want at most %d", most, turns)
		}
	})
}

func TestWhatTakesLongKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		most, left := handAll(t, 2000, 5*time.Second)
		if most != 2000 {
			t.Errorf("%d messages were under way at once, want all 2,000", most)
		}
		if took := time.Since(began) - 2*5*time.Second; took > 2*time.Second {
			t.Errorf("the last was begun after %s", took)
		}
		if left > keptIdle {
			t.Errorf("%d hands are kept, want at most %d", left, keptIdle)
		}
	})
}

// Nobody lends here, as where CPU is short.
func TestWhatWaitsForNATSKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peak
		var h *hands
		h = newHands(func(e errand) {
			h.rest(e.by)
			h.rest(e.by) // a turn is given back once
			p.during(func() { time.Sleep(time.Minute) })
		})
		for range 2000 {
			h.do(errand{})
		}
		synctest.Wait()
		if n := p.now.Load(); n != 2000 {
			t.Errorf("%d messages wait at once, want all 2,000", n)
		}
		h.finish()
		if got := len(h.turns); got != cap(h.turns) {
			t.Errorf("%d turns of %d were given back", got, cap(h.turns))
		}
	})
}

func TestTurnsAreLentThoughOneOfThemGoesRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := turnsEach * runtime.GOMAXPROCS(0)
		var begun atomic.Int64
		h := newHands(func(errand) {
			if begun.Add(1) < int64(turns) { // all turns but one hang
				time.Sleep(5 * time.Second)
				return
			}
			time.Sleep(turnTime / 4)
		})
		ctx, cancel := context.WithCancel(t.Context())
		var lending sync.WaitGroup
		lending.Go(func() { h.lend(ctx) })
		began := time.Now()
		for range turns + 400 {
			h.do(errand{})
		}
		if took := time.Since(began); took > 10*turnTime {
			t.Errorf("400 quick messages behind as many that hang as there are turns were begun after %s", took)
		}
		h.finish()
		cancel()
		lending.Wait()
	})
}
