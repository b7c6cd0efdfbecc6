package consumer_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/audit"
	"github.com/popsee/webhooks/consumer/forget"
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

// TestForgetWhatStoodInARemovedStream: its copies bear sequences that the stream of now
// has not come to, or that are other events'.
func TestForgetWhatStoodInARemovedStream(t *testing.T) {
	for name, byResponse := range map[string]bool{"a response": true, "a survey": false} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				flush := w.logged()
				w.calm = often
				w.endpoint("fine")
				w.endpoint("s1").answers(500)
				r := w.start()
				w.publish("fine")
				w.publishRaw("s1", "person-buried", fmt.Sprintf(`{"event":"response.completed","response":{"id":"person-buried"},"name":%q`, person), true)
				low := w.publishOf("s1", "person-low", person)
				w.publishMany("fine", 20)
				high := w.publishOf("s1", "person-high", person)
				w.advance(time.Minute)
				flush()
				for _, id := range []string{low, high, "person-buried"} {
					w.published[id].forgotten = true
				}
				w.remake()
				w.advance(time.Minute)
				news := w.publishMany("fine", 6)
				stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
				must(t, err)
				must(t, stream.DeleteMsg(t.Context(), 2)) // nobody knows what became of it, and the erasure of the old one of its sequence says nothing of it
				delete(w.published, news[1])
				news = slices.Delete(news, 1, 2)
				w.resume("first")
				w.advance(time.Minute)
				w.wantAllDelivered(news)
				flush()
				found := 0
				if byResponse {
					for _, id := range []string{low, high, "person-buried"} {
						receipt := w.forget(forget.Options{Response: id})
						found += receipt.Lanes.Erased + receipt.DeadLetters.Erased
						if n := len(receipt.Lanes.Sequences) + len(receipt.DeadLetters.Sequences); n > 0 {
							t.Errorf("the receipt tells of sequences of a stream that is gone: %+v", receipt)
						}
					}
				} else {
					receipt := w.forget(forget.Options{Survey: "s1"})
					found = receipt.Lanes.Erased + receipt.DeadLetters.Erased
				}
				if found != 3 {
					t.Errorf("%d copies were erased, want 3", found)
				}
				if where := append(w.mentions(person), w.mentions("person-")...); len(where) > 0 {
					t.Errorf("the person is still in %v", where)
				}
				r.leave()
				flush()
				wantAudit(t, w.audit(0, 0), map[audit.Fate]uint64{audit.Delivered: 5, audit.TooOld: 1})
			})
		})
	}
}
