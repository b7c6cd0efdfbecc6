package consumer_test

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/mark"
)

// remake removes the event stream and makes it again: its sequences begin anew.
func (w *world) remake() {
	w.t.Helper()
	must(w.t, w.js.DeleteStream(w.t.Context(), w.layout.Names.Stream()))
	w.advance(10 * time.Millisecond)
	_, err := w.js.CreateStream(w.t.Context(), w.layout.Events())
	must(w.t, err)
}

// resume does what the alarm asks a person for.
func (w *world) resume(from string) {
	w.t.Helper()
	point, err := mark.ParseResumePoint(from)
	must(w.t, err)
	_, err = mark.Resume(w.t.Context(), w.js, w.layout, point)
	must(w.t, err)
}

// TestAnEventOfAStreamMadeAnewIsNotTakenForTheOldOneOfItsSequence: the old one's copy
// waits when the new one is parked beside it.
func TestAnEventOfAStreamMadeAnewIsNotTakenForTheOldOneOfItsSequence(t *testing.T) {
	for name, takenOver := range map[string]bool{"by the owner that knows the old one": false, "by one that reads both": true} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.calm = often
				s1 := w.endpoint("s1").answers(500)
				r := w.start()
				ids := w.publishMany("s1", 3)
				w.advance(time.Minute)
				w.wantParked(3)
				w.remake()
				ids = append(ids, w.publishMany("s1", 3)...)
				w.advance(time.Minute)
				w.wantLog("the event stream is another one")
				w.resume("first")
				w.advance(time.Minute)
				w.wantSettled()
				w.wantParked(6)
				if takenOver {
					r.crash()
					w.start()
					w.advance(time.Minute)
				}
				s1.answers(200)
				w.advance(10 * time.Minute)
				w.wantAllDelivered(ids)
				w.wantParked(0)
			})
		})
	}
}
