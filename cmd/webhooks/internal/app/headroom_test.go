package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTheHeapHasTheSameRoomWhateverIsInUse(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 32 << 20: 50, 64 << 20: 25, 1 << 30: 25} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB in use GOGC is %d, want %d", live>>20, got, want)
		}
	}
}

func TestWhatIsInUseIsKnown(t *testing.T) {
	runtime.GC()
	if live() == 0 {
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
