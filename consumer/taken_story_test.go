package consumer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/layout"
)

// What an operator's hand takes away is said, and what can be made good is.

func TestAPurgeOfWhatIsNotSettledIsSaid(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		r := w.endpoint("s1")
		w.start()
		w.publish("s1")
		w.advance(2 * time.Second)
		r.follows(answer{status: 500, after: 4 * time.Second}, answer{status: 200})
		w.publish("s1")
		w.advance(1500 * time.Millisecond)
		stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		must(t, stream.Purge(t.Context()))
		w.advance(2 * time.Minute)
		w.wantLog("events left the event stream before they were settled")
	})
}

func TestAPurgeOfWhatIsSettledIsNotSaid(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		w.start()
		w.publishMany("s1", 20)
		w.advance(5 * time.Second)
		stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		must(t, stream.Purge(t.Context()))
		w.publishMany("s1", 20)
		w.advance(5 * time.Second)
		if strings.Contains(w.log.String(), "left the event stream") {
			t.Error("a purge of what is settled is called a loss")
		}
	})
}

// TestWhatIsOwedOutlivesTheBucketOfHealth: the promise stands nowhere else.
func TestWhatIsOwedOutlivesTheBucketOfHealth(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		r := w.endpoint("s1").answers(410)
		w.start()
		w.start()
		ids := w.publishMany("s1", 30)
		w.advance(time.Minute)
		if h, there := w.health("s1"); !there || h.OwedFrom == 0 {
			t.Fatalf("nothing is owed: %+v", h)
		}
		bucket := w.layout.Names.Health()
		must(t, w.js.DeleteKeyValue(t.Context(), bucket))
		w.advance(10 * time.Second)
		for _, cfg := range (layout.Layout{}).Buckets() {
			if cfg.Bucket == bucket {
				_, err := w.js.CreateKeyValue(t.Context(), cfg)
				must(t, err)
			}
		}
		w.advance(2 * time.Minute)
		w.wantLog("was made anew")
		if h, there := w.health("s1"); !there || h.OwedFrom == 0 || h.Disabled == nil {
			t.Fatalf("what was owed is forgotten: %+v", h)
		}
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(5 * time.Minute)
		w.wantAllDelivered(ids)
	})
}
