package consumer_test

import (
	"net/http"
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

// TestWhatWaitsOfARemovedStreamIsNotTakenForPromised: the stream that would give it
// again is gone, and what stands at its sequences now are other events.
func TestWhatWaitsOfARemovedStreamIsNotTakenForPromised(t *testing.T) {
	for name, n := range map[string]int{"the new one is shorter": 5, "the new one is longer": 30} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) { disabledInAnother(t, w, n) })
		})
	}
}

// disabledInAnother disables an endpoint that began to fail in a stream which was
// removed; n events stand in the one of now.
func disabledInAnother(t *testing.T, w *world, n int) {
	w.calm = often
	s1 := w.endpoint("s1").answers(500)
	r := w.start()
	old := w.publishMany("s1", 10)
	w.advance(time.Minute)
	old = append(old, w.publishMany("s1", 10)...)
	w.advance(time.Minute)
	if h, _ := w.health("s1"); h.From == 0 || h.From > 11 {
		t.Errorf("the record is %+v", h)
	}
	w.remake()
	ids := w.publishMany("s1", n)
	w.advance(10 * time.Second)
	w.resume("first")
	s1.answers(http.StatusGone)
	w.advance(20 * time.Minute)
	if h, _ := w.health("s1"); h.Disabled == nil || h.OwedFrom == 0 || h.OwedFrom > uint64(n)+1 {
		t.Errorf("the record is %+v", h)
	}
	w.wantSettled()
	buried := map[string]bool{}
	for _, l := range w.letters() {
		buried[l.EventID] = true
	}
	for _, id := range old {
		if !buried[id] {
			t.Errorf("event %s of the removed stream is lost: it is no dead letter", id)
		}
	}
	r.leave()
	w.start()
	s1.answers(200)
	w.put(w.stored("s1"))
	w.advance(10 * time.Minute)
	w.wantAllDelivered(ids)
	w.wantParked(0)
	w.wantNoHealth("s1")
}

// TestAFullLaneOfARemovedStreamStaysWhole, and no fuller: what is promised begins anew
// with the stream.
func TestAFullLaneOfARemovedStreamStaysWhole(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.laneMost = 20
		s1 := w.endpoint("s1").answers(500)
		w.endpoint("other")
		w.start()
		w.publishMany("other", 200)
		old := w.publishMany("s1", 20)
		w.advance(time.Minute)
		gone := w.publishMany("s1", 20) // promised, and gone with the stream
		w.advance(time.Minute)
		if h, _ := w.health("s1"); h.OwedFrom == 0 {
			t.Errorf("the record is %+v", h)
		}
		waiting := w.parked()
		w.remake()
		ids := w.publishMany("s1", 20)
		w.advance(10 * time.Second)
		w.resume("first")
		for range 10 {
			w.advance(time.Minute)
			ids = append(ids, w.publishMany("s1", 10)...)
		}
		w.advance(time.Minute)
		w.wantSettled()
		w.wantParkedAtMost(len(waiting) + 20 + 10)
		s1.answers(200)
		w.advance(20 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantAllDelivered(old)
		w.wantParked(0)
		w.wantNoHealth("s1")
		for _, id := range gone {
			delete(w.published, id)
		}
	})
}
