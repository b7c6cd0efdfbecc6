package consumer_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

// waive gives up what is owed to a survey, as a person does, and forgets those of
// the events that are only owed. It returns them.
func (w *world) waive(survey string) (waived []string) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.layout.Names.Stream())
	must(w.t, err)
	below := stream.CachedInfo().State.LastSeq + 1
	parked := map[uint64]bool{}
	for _, seq := range w.parked() {
		parked[seq] = true
	}
	for id, p := range w.published {
		if p.survey == survey && w.owed(p) && !parked[p.seq] && w.internet.at(survey).accepted(id) == 0 {
			waived = append(waived, id)
			delete(w.published, id)
		}
	}
	owed, err := health.Waive(w.t.Context(), w.js, w.layout.Names, events.Survey(survey), below)
	if err != nil || !owed {
		w.t.Fatalf("nothing was waived: %v, %v", owed, err)
	}
	return waived
}

// wantNeverDelivered checks that events stayed given up.
func (w *world) wantNeverDelivered(survey string, ids []string) {
	w.t.Helper()
	if len(ids) == 0 {
		w.t.Error("nothing was waived")
	}
	for _, id := range ids {
		if n := w.internet.at(survey).accepted(id); n > 0 {
			w.t.Errorf("event %s was waived, and accepted %d times", id, n)
		}
	}
}

func TestWhatIsWaivedOfADisabledEndpointStaysWaived(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1").answers(http.StatusGone)
		w.start()
		w.start()
		w.publish("s1")
		w.advance(time.Minute)
		w.publishMany("s1", 40)
		w.advance(3 * time.Hour)
		waived := w.waive("s1")
		w.advance(10 * time.Minute) // its promise is renewed, from no earlier than that
		later := w.publishMany("s1", 10)
		w.advance(time.Minute)
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(5 * time.Minute)
		w.wantAllDelivered(later)
		w.wantNeverDelivered("s1", waived)
		w.wantNoHealth("s1")
	})
}

func TestWhatIsWaivedOfAFailingEndpointStaysWaived(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		w.laneMost = 50
		r := w.endpoint("s1").answers(500)
		w.start()
		w.publishMany("s1", 60)
		w.advance(3 * time.Second)
		w.publishMany("s1", 200)
		w.advance(time.Hour)
		waived := w.waive("s1")
		w.advance(time.Hour)
		later := w.publishMany("s1", 10)
		w.advance(time.Minute)
		r.answers(200)
		w.advance(10 * time.Minute)
		w.wantAllDelivered(later)
		w.wantNeverDelivered("s1", waived)
		w.wantNoHealth("s1")
	})
}
