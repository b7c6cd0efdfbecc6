package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAnOutageOfNATSIsNoOutageOfTheLog has many lanes with work to do while NATS is
// away: bodies to fetch, delivered events to remove, recoveries to tell, promises to
// renew. Each kind of trouble is told about every ten seconds, whatever the number
// of lanes.
func TestAnOutageOfNATSIsNoOutageOfTheLog(t *testing.T) {
	const surveys, outage = 10, 30 * time.Second
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 5
		w.start()
		for i := range surveys {
			w.endpoint(fmt.Sprint("s", i)).answers(500)
		}
		for i := range surveys {
			w.publishMany(fmt.Sprint("s", i), 8)
		}
		w.advance(20 * time.Second)
		for i := range surveys {
			w.endpoint(fmt.Sprint("s", i)).answers(200)
		}
		before := strings.Count(w.log.String(), `"level":"warn"`)
		w.haltHeld()
		w.advance(outage)
		told := strings.Count(w.log.String(), `"level":"warn"`) - before
		w.boot()
		w.advance(2 * time.Minute)
		t.Logf("%d lines of trouble in %s", told, outage)
		if told == 0 || told > 30 {
			t.Errorf("%d lines of trouble in %s, want some and at most 30:\n%.20000s", told, outage, w.log.String())
		}
		w.wantSettled()
		w.wantParked(0)
	})
}
