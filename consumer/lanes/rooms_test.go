package lanes

import (
	"fmt"
	"testing"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

func TestHalfALaneIsForWhatIsSentAgain(t *testing.T) {
	js, names := bustest.Start(t), events.Names{}
	for _, cfg := range (layout.Layout{Names: names}).Own() {
		_, err := js.CreateStream(t.Context(), cfg)
		must(t, err)
	}
	must(t, Park(t.Context(), js, names, Waiting{Survey: "s1", EventID: "r1", Source: 1, Published: at(0), Parked: at(0)}))
	for rehearsal, want := range map[bool]string{false: "[2 0 2]", true: "[2 0 0]"} {
		r := NewRooms(js, names, RoomOptions{Events: 6, Bytes: 600, Rehearsal: rehearsal})
		// What was taken is not parked here: whoever asks the server again finds the same room.
		if got := fmt.Sprint([]int{taken(t, r), taken(t, r), takenLater(t, r)}); got != want {
			t.Errorf("rehearsal %v: %s places were given, want %s", rehearsal, got, want)
		}
		if room, err := r.Take(t.Context(), "s2", 301); err != nil || room {
			t.Errorf("an event of more than half of a lane's bytes has room (%v)", err)
		}
		if room, err := r.Take(t.Context(), "s2", 300); err != nil || !room {
			t.Errorf("an event of half of a lane's bytes has no room in an empty one (%v)", err)
		}
	}
}

// taken is how many places there are.
func taken(t *testing.T, r *Rooms) (n int) {
	t.Helper()
	for {
		room, err := r.Take(t.Context(), "s1", 10)
		must(t, err)
		if !room {
			return n
		}
		n++
	}
}

// takenLater is [taken] when what was known is old.
func takenLater(t *testing.T, r *Rooms) int {
	t.Helper()
	r.mu.Lock()
	r.known["s1"].asked = r.known["s1"].asked.Add(-2 * roomFor)
	r.mu.Unlock()
	return taken(t, r)
}
