package lanes

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// TestACopyThatIsNotThereYetIsNotTakenForGone: in a cluster the feed may tell of a
// copy before the server it is fetched from has stored it.
func TestACopyThatIsNotThereYetIsNotTakenForGone(t *testing.T) {
	js := bustest.Start(t)
	for _, cfg := range (layout.Layout{}).Own() {
		_, err := js.CreateStream(t.Context(), cfg)
		must(t, err)
	}
	o := New(js, nil, Options{})
	late := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		late <- Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Parked: time.Now(), Published: time.Now(), Body: []byte("{}")})
	}()
	w, err := o.fetch(t.Context(), "s1", 1)
	must(t, <-late)
	must(t, err)
	if w == nil || w.EventID != "r1" {
		t.Fatalf("got %+v, want the event that came a moment later", w)
	}
	must(t, o.remove(t.Context(), "s1", removal{singles: []uint64{1}}))
	if w, err := o.fetch(t.Context(), "s1", 1); w != nil || err != nil {
		t.Errorf("what was removed is fetched as %+v, %v", w, err)
	}
}
