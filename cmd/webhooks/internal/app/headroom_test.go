package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTheHeapHasTheSameRoomWhateverIsInUse(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, leastUsed: 400, 8 << 20: 200, 16 << 20: 100, 32 << 20: 50, 64 << 20: 25, 1 << 30: 25} {
		if got := percentFor(live, leastRoom); got != want {
			t.Errorf("with %d MiB in use GOGC is %d, want %d", live>>20, got, want)
		}
	}
	if got := percentFor(2*leastUsed, mostRoom); got != 800 {
		t.Errorf("with 8 MiB in use and the most room GOGC is %d, want 800: a cap would keep a small heap from its room", got)
	}
}

func TestALoadGetsMoreRoomAndGivesItBack(t *testing.T) {
	h := headroom{bytes: leastRoom}
	looks := func(n int, collections uint64) (ended int) {
		for range n {
			if h.look(collections) {
				ended++
			}
		}
		return ended
	}
	for range 100 {
		if ended := looks(1, 1) + looks(1, 0); h.bytes != leastRoom || ended != 0 {
			t.Fatalf("a light load changed the room to %d, ended %d times", h.bytes, ended)
		}
	}
	if looks(1, oftenEach); h.bytes != 2*leastRoom {
		t.Errorf("a load that has just come changed the room to %d, want %d at once", h.bytes, 2*leastRoom)
	}
	looks(10, 1)
	if h.bytes != mostRoom {
		t.Errorf("the room under load is %d, want %d", h.bytes, mostRoom)
	}
	if ended := looks(calmLooks-1, 0); h.bytes != mostRoom || ended != 0 {
		t.Errorf("a short pause changed the room to %d, ended %d times", h.bytes, ended)
	}
	looks(1, 1)
	if ended := looks(calmLooks, 0); h.bytes != leastRoom || ended != 1 {
		t.Errorf("after the load the room is %d, ended %d times; want %d, once", h.bytes, ended, leastRoom)
	}
	if ended := looks(3*calmLooks, 0); ended != 0 {
		t.Errorf("memory would be given back %d times more for nothing", ended)
	}
}

func TestWhatIsInUseIsKnown(t *testing.T) {
	runtime.GC()
	if collections, used := heap(); used == 0 || collections == 0 {
		t.Error("the runtime does not say what is in use")
	}
}

func TestSomebodyElsesGOGCIsLeftAlone(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	KeepHeadroom(t.Context(), "77")
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC is %d", got)
	}
}
