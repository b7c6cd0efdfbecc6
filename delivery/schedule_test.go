package delivery

import (
	"fmt"
	"testing"
	"time"
)

func TestScheduleInOrder(t *testing.T) {
	parked := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	at, previous := parked, time.Duration(0)
	for i, offset := range Offsets() {
		due, ok := Next(parked, "r-1", at)
		if !ok {
			t.Fatalf("try %d: none left, want one after %s", i+1, offset)
		}
		after, most := due.Sub(parked), offset+(offset-previous)/10
		if after < offset || after > most {
			t.Errorf("try %d: after %s, want from %s to %s", i+1, after, offset, most)
		}
		at, previous = due, offset
	}
	if due, ok := Next(parked, "r-1", at); ok {
		t.Errorf("after the last: got %s, want none", due)
	}
	if last := at.Sub(parked); last >= Lifetime {
		t.Errorf("the last is after %s, want it within %s", last, Lifetime)
	}
}

func TestScheduleIsTheSameForEveryReplica(t *testing.T) {
	parked := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	first, _ := Next(parked, "r-1", parked)
	elsewhere, _ := Next(parked.In(time.FixedZone("", 3600)), "r-1", parked)
	if !first.Equal(elsewhere) {
		t.Errorf("got %s and %s, want the same instant", first, elsewhere)
	}
}

func TestScheduleMissedTimesCollapse(t *testing.T) {
	parked := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	due, ok := Next(parked, "r-1", parked.Add(6*time.Hour))
	if wait := due.Sub(parked); !ok || wait < 10*time.Hour || wait > 10*time.Hour+30*time.Minute {
		t.Errorf("asked after 6 h: got %s %t, want the one of 10 h", wait, ok)
	}
	if _, ok := Next(parked, "r-1", parked.Add(Lifetime)); ok {
		t.Error("asked after its lifetime: got one, want none")
	}
	if due, ok := Next(parked, "r-1", parked.Add(-time.Hour)); !ok || due.Before(parked) {
		t.Errorf("asked before its parking: got %s %t, want the first", due, ok)
	}
}

// What is parked together must not come back together, at any of its tries.
func TestScheduleSpreads(t *testing.T) {
	previous := time.Duration(0)
	for step, offset := range Offsets() {
		wait := offset - previous
		var quarters [4]int
		for i := range 4000 {
			j := jitter(fmt.Sprintf("7c9e6679-7425-40de-944b-%012d", i), step, wait)
			if j < 0 || j > wait/10 {
				t.Fatalf("try %d: jitter %s, want at most %s", step+1, j, wait/10)
			}
			quarters[min(3, int(j*4/(wait/10)))]++
		}
		for q, n := range quarters {
			if n < 800 || n > 1200 {
				t.Errorf("try %d: %d of 4000 in quarter %d, want about 1000", step+1, n, q+1)
			}
		}
		previous = offset
	}
}

func TestOffsetsCannotBeChanged(t *testing.T) {
	Offsets()[0] = time.Hour
	if Offsets()[0] != 5*time.Second {
		t.Error("a caller can change the schedule")
	}
}
