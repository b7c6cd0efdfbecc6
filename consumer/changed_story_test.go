package consumer_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
)

// TestADisabledEndpointChangedWhileNobodyOwnedItsShardWorksAgain: nobody was there
// to hear of the change.
func TestADisabledEndpointChangedWhileNobodyOwnedItsShardWorksAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(410)
		first := w.start()
		ids := w.publishMany("s1", 30)
		w.advance(time.Minute)
		first.leave()
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(time.Minute)
		w.start()
		w.advance(5 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantNoHealth("s1")
	})
}

// TestA410FromBeforeAChangeDisablesNothing: whoever moves a webhook and retires its old
// address may do so while an attempt there is under way.
func TestA410FromBeforeAChangeDisablesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").follows(answer{status: http.StatusGone, after: 2 * time.Second})
		w.start()
		ids := w.publishMany("s1", 5)
		w.advance(time.Second)
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(5 * time.Second)
		w.wantLog("endpoint disabled")
		ids = append(ids, w.publishMany("s1", 20)...)
		w.advance(5 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}

// TestAChangeThatCouldNotBeNotedIsNotedLater: the record says disabled, until somebody
// has written that it is another endpoint now.
func TestAChangeThatCouldNotBeNotedIsNotedLater(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(http.StatusGone)
		w.start()
		ids := w.publishMany("s1", 20)
		w.advance(10 * time.Second)
		w.wire.Cut(bustest.TheWrite, `"failing_since"`)
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(7 * time.Second)
		w.wantLog("could not be given a new start")
		w.advance(5 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantNoHealth("s1")
	})
}

func TestADisabledEndpointRemovedWhileNobodyOwnedItsShardTurnsWhatIsOwedIntoDeadLetters(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(http.StatusGone)
		first := w.start()
		w.publishMany("s1", 30)
		w.advance(time.Minute)
		first.leave()
		w.remove("s1")
		w.start()
		w.advance(5 * time.Minute)
		if n := len(w.letters()); n != 30 {
			t.Errorf("%d dead letters, want 30", n)
		}
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}
