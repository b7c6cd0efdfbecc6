package consumer_test

import (
	"testing"
	"time"
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
