package lanes

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/popsee/webhooks/consumer/health"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func filled(n int) *lane {
	l := &lane{survey: "s1"}
	for i := range n {
		l.add(entry{src: uint64(i + 1), seq: uint64(100 + i), size: 10})
	}
	return l
}

func wantNext(t *testing.T, l *lane, now time.Time, src uint64) {
	t.Helper()
	e, ok := l.next(now)
	if got := e.src; !ok && src != 0 || ok && got != src {
		t.Errorf("next is %d (%v), want %d", got, ok, src)
	}
}

func TestDrainingStartsInTheOrderOfTheSources(t *testing.T) {
	l := &lane{}
	for _, src := range []uint64{5, 3, 9, 4} {
		l.add(entry{src: src, seq: src})
	}
	for _, src := range []uint64{3, 4, 5, 9, 0} {
		wantNext(t, l, start, src)
	}
}

func TestAnEventThatIsThereAlreadyIsRedundant(t *testing.T) {
	l := filled(3)
	if l.add(entry{src: 2, seq: 999}) {
		t.Error("a second copy is taken in")
	}
	if !l.add(entry{src: 2, seq: 101}) {
		t.Error("the same copy, read again, is called redundant")
	}
	wantNext(t, l, start, 1)
	l.landed(entry{src: 1}, true, time.Time{}, start)
	if !l.add(entry{src: 1, seq: 500}) || l.live != 3 {
		t.Error("an event that was delivered and parked again is not taken in")
	}
}

func TestAnEventThatFailsByItselfHoldsNobodyUp(t *testing.T) {
	l := filled(3)
	wantNext(t, l, start, 1)
	l.landed(entry{src: 1}, false, at(time.Minute), start)
	wantNext(t, l, start, 2)
	wantNext(t, l, start, 3)
	wantNext(t, l, start, 0)
	if w := l.wake(); !w.Equal(at(time.Minute)) {
		t.Errorf("wakes at %s, want after a minute", w)
	}
	wantNext(t, l, at(time.Minute), 1)
}

func TestProbingTriesOneAtATimeAndAnotherAfterTwoFailures(t *testing.T) {
	l := filled(3)
	now := start
	l.fails(now, 0, 1)
	wantNext(t, l, now, 0)
	for _, src := range []uint64{1, 1, 2, 2, 3, 3, 1} {
		now = l.probeAt
		wantNext(t, l, now, src)
		wantNext(t, l, now, 0) // one at a time
		l.landed(entry{src: src}, false, now, start)
		l.fails(now, 0, 1)
	}
}

func TestTheWaitBetweenProbesDoublesToFiveMinutes(t *testing.T) {
	l := filled(1)
	for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 300 * time.Second, 300 * time.Second} {
		if got := l.fails(start, 0, 1).Sub(start); got != want {
			t.Errorf("wait %d is %s, want %s", i, got, want)
		}
	}
	if got := l.fails(start, 0, 0).Sub(start); got != 240*time.Second {
		t.Errorf("the least jitter gives %s, want four fifths of the wait", got)
	}
	if got := l.fails(start, time.Hour, 0).Sub(start); got != time.Hour {
		t.Errorf("a Retry-After of an hour gives %s", got)
	}
}

func TestTheFirst2xxMakesEverythingDue(t *testing.T) {
	l := filled(3)
	wantNext(t, l, start, 1)
	l.landed(entry{src: 1}, false, at(time.Hour), start)
	l.fails(start, 0, 1)
	if !l.works(at(time.Second)) || l.works(at(time.Second)) {
		t.Error("the recovery is not told exactly once")
	}
	for _, src := range []uint64{1, 2, 3} {
		wantNext(t, l, at(time.Second), src)
	}
}

// event is what an entry is known by.
type event struct {
	src  uint64
	part uint8
}

// TestALaneNeverLosesOrDoublesAnEntry drives a lane at random and compares it
// with what must be there.
func TestALaneNeverLosesOrDoublesAnEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, there, airborne := &lane{}, map[event]uint64{}, map[event]bool{}
		now, seq := start, uint64(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			one := event{rapid.Uint64Range(1, 20).Draw(t, "src"), rapid.Uint8Range(0, 1).Draw(t, "part")}
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				seq++
				copied := entry{src: one.src, part: one.part, seq: seq, size: 1}
				took := l.add(copied)
				if took == (there[one] != 0) {
					t.Fatalf("add %d says %v, the copy there: %d", one, took, there[one])
				}
				if !took && l.double(copied).seq != there[one] {
					t.Fatalf("of %d not the older copy is redundant", one)
				}
				there[one] = seq
			case 2:
				if e, ok := l.next(now); ok {
					if one := (event{e.src, e.part}); there[one] != e.seq || airborne[one] {
						t.Fatalf("started %d, which is not there or flies already", one)
					}
					airborne[event{e.src, e.part}] = true
				}
			case 3:
				if airborne[one] {
					remove := rapid.Bool().Draw(t, "remove")
					l.landed(entry{src: one.src, part: one.part}, remove, now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "due"))*time.Second), start)
					delete(airborne, one)
					if remove {
						delete(there, one)
					}
				}
			case 4:
				now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "wait")) * time.Second)
			case 5:
				if rapid.Bool().Draw(t, "works") {
					l.works(now)
				} else {
					l.fails(now, 0, rand.Float64())
				}
			}
			if l.live != len(there) || l.flying != len(airborne) || l.bytes != int64(len(there)) {
				t.Fatalf("%d live, %d flying, %d bytes; want %d, %d, %d", l.live, l.flying, l.bytes, len(there), len(airborne), len(there))
			}
			if !slices.IsSortedFunc(l.entries, order) {
				t.Fatal("the entries are out of order")
			}
		}
		// In the end everything that is there and does not fly can be started.
		l.works(now)
		l.allDue()
		for len(airborne) < len(there) {
			e, ok := l.next(now)
			if one := (event{e.src, e.part}); !ok || airborne[one] || there[one] != e.seq {
				t.Fatalf("%d of %d started, then %v %v", len(airborne), len(there), one, ok)
			}
			airborne[event{e.src, e.part}] = true
		}
	})
}

// TestWhatWasPublishedInAnotherStreamIsAnotherEvent: that one was removed, and its
// sequences began anew.
func TestWhatWasPublishedInAnotherStreamIsAnotherEvent(t *testing.T) {
	of := func(published time.Time, seq uint64) entry {
		m := momentOf(published)
		return entry{src: 1, seq: seq, pub: m.second(), part: m.part()}
	}
	l := &lane{}
	for i, published := range []time.Time{start.Add(5 * time.Millisecond), start, start.Add(time.Hour), start.Add(-time.Millisecond)} {
		if !l.add(of(published, uint64(i+1))) {
			t.Errorf("what was published at %s is taken for another event", published)
		}
		if l.add(of(published, 100)) {
			t.Errorf("a second copy of what was published at %s is taken in", published)
		}
	}
	for _, seq := range []uint64{4, 2, 1, 3} { // the oldest first
		if e, ok := l.next(start); !ok || e.seq != seq {
			t.Errorf("next is the copy at %d (%v), want the one at %d", e.seq, ok, seq)
		}
	}
}

func TestAnEntryIsAFewWords(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 32 {
		t.Errorf("an entry takes %d bytes, want at most 32: there may be a million", size)
	}
}

func BenchmarkDrain50000(b *testing.B) {
	for b.Loop() {
		l := filled(50_000)
		for {
			e, ok := l.next(start)
			if !ok {
				break
			}
			l.landed(entry{src: e.src}, true, time.Time{}, start)
		}
	}
}

func TestAnEventDeliveredWhileItsLaneArrivesIsNotDeliveredFromAnotherCopy(t *testing.T) {
	l := &lane{arriving: true}
	for src := range uint64(100) {
		l.add(entry{src: src + 1, seq: src + 1})
	}
	for src := range uint64(100) {
		wantNext(t, l, start, src+1)
		l.landed(entry{src: src + 1}, true, time.Time{}, start)
	}
	l.removed(l.remove(start, true), true, start)
	if l.add(entry{src: 1, seq: 101}) || l.live != 0 {
		t.Error("another copy of what was delivered a moment ago is taken in")
	}
	l.arriving = false
	if !l.add(entry{src: 1, seq: 102}) || l.live != 1 {
		t.Error("an event that was parked again later is not taken in")
	}
}

func TestWhatArrivesAfterItsEndpointBeganToWorkIsDueAtOnce(t *testing.T) {
	l := &lane{arriving: true}
	l.failsSince(start, FirstWait)
	l.add(entry{src: 1, seq: 1, due: seconds(at(time.Hour))})
	wantNext(t, l, start, 1)
	l.landed(entry{src: 1}, true, time.Time{}, start)
	if !l.works(start) {
		t.Fatal("it works for the first time, and that is no news")
	}
	l.add(entry{src: 2, seq: 2, due: seconds(at(time.Hour))})
	wantNext(t, l, start, 2)
	l.arriving = false
	l.add(entry{src: 3, seq: 3, due: seconds(at(time.Hour))})
	wantNext(t, l, start, 0)
}

// TestWhatCannotBeDoneWhenItsTimeComesWakesNobody: its time has passed for as long as
// that lasts.
func TestWhatCannotBeDoneWhenItsTimeComesWakesNobody(t *testing.T) {
	promised := filled(9)
	promised.failsSince(at(time.Minute), FirstWait)
	promised.owed = []health.Promise{{From: 1, Until: at(time.Hour)}}
	wantNext(t, promised, at(2*time.Minute), 0)

	paid := filled(1)
	paid.entries[0].due = seconds(at(time.Hour))
	paid.bringAt = at(time.Minute)
	wantNext(t, paid, at(2*time.Minute), 0)

	full := filled(laneFly)
	for range laneFly {
		full.next(start)
	}
	full.add(entry{src: 1000, due: seconds(at(time.Minute))})
	wantNext(t, full, start, 0)

	for name, c := range map[string]struct {
		l    *lane
		want time.Time
	}{
		"all of a failing endpoint's events are promised": {promised, time.Time{}},
		"all that was owed is brought":                    {paid, at(time.Hour)},
		"as many are tried as may be":                     {full, time.Time{}},
	} {
		if got := c.l.wake(); !got.Equal(at(time.Minute)) {
			t.Errorf("%s: it wakes at %s before it is tended, want at its time", name, got)
		}
		c.l.tended = at(2 * time.Minute)
		if got := c.l.wake(); !got.Equal(c.want) {
			t.Errorf("%s: it wakes at %s, want %s", name, got, c.want)
		}
	}
}

// TestWhatWasNotDeliveredMayComeAgainWhileItsLaneArrives: it became a dead letter, which
// somebody has redriven, or its copy was erased.
func TestWhatWasNotDeliveredMayComeAgainWhileItsLaneArrives(t *testing.T) {
	l := &lane{arriving: true}
	l.add(entry{src: 1, seq: 1})
	wantNext(t, l, start, 1)
	l.landed(entry{src: 1}, true, time.Time{}, start)
	l.leave(entry{src: 1})
	if l.live != 0 || l.firstStaying() != 1<<64-1 {
		t.Errorf("%d are there still, the first copy that stays is %d", l.live, l.firstStaying())
	}
	if !l.add(entry{src: 1, seq: 101}) || l.live != 1 {
		t.Error("it is not taken in again")
	}
	wantNext(t, l, start, 1)
}

// TestOfTwoCopiesTheNewerOneIsKept: the older one may have been erased by hand.
func TestOfTwoCopiesTheNewerOneIsKept(t *testing.T) {
	l := &lane{}
	l.add(entry{src: 1, seq: 5, size: 10, due: seconds(at(time.Hour))})
	wantNext(t, l, start, 0)
	if other := l.double(entry{src: 1, seq: 9, size: 30}); other.seq != 5 || l.bytes != 30 {
		t.Errorf("the copy at %d is redundant, and what stays has %d bytes", other.seq, l.bytes)
	}
	if other := l.double(entry{src: 1, seq: 5, size: 10}); other.seq != 5 {
		t.Errorf("read again, the copy at %d is redundant", other.seq)
	}
	if e, ok := l.next(start); !ok || e.seq != 9 {
		t.Errorf("started is the copy at %d (%v), want the newer one, which is due", e.seq, ok)
	}
}
