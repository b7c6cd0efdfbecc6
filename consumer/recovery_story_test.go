package consumer_test

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/events"
)

// recoveryEvents is how many events wait for the endpoint that was dead for six
// hours. Half of them fit into its lane, the others are owed. `task
// bench:recovery` runs it at its full size, with the lane's own limit of 50,000. Under
// the race detector they are fewer.
var recoveryEvents = flag.Int("recovery.events", someEvents(), "events that wait for the endpoint of the recovery story")

func someEvents() int {
	if raced {
		return 3000
	}
	return 10_000
}

const (
	recoveryAnswer = 20 * time.Millisecond // what a receiver takes to answer
	recoveryDead   = 6 * time.Hour
	firstMoments   = 10 * time.Second // until the endpoint is known to fail: no probes yet
	mostProbes     = 90
)

// TestAnEndpointDeadForHoursIsLeftAloneAndThenDrainsAtLiveSpeed compares how fast
// a backlog leaves a lane, and the event stream behind it, with how fast one is
// delivered live. All rates are of fake time: they are what the waits and
// the budgets allow, not what this machine can do.
func TestAnEndpointDeadForHoursIsLeftAloneAndThenDrainsAtLiveSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.calm = 5 * time.Minute
		w.laneMost = *recoveryEvents / 2
		n := *recoveryEvents
		healthy := w.endpoint("healthy").follows(answer{status: 200, after: recoveryAnswer})
		dead := w.endpoint("dead").answers(500)
		w.start()

		w.publishBulk("healthy", n)
		w.advance(time.Hour)
		live := rateOf(t, healthy, n)

		w.publishBulk("dead", n)
		began := time.Now()
		w.advance(recoveryDead)
		if r, _ := w.health("dead"); r.OwedFrom == 0 {
			t.Errorf("nothing is owed although the lane holds %d of %d: %+v", w.laneMost, n, r)
		}
		first := requestsUntil(dead, began.Add(firstMoments))
		probes := len(dead.seen()) - first
		if probes > mostProbes {
			t.Errorf("%d probes in six hours, want at most %d", probes, mostProbes)
		}
		dead.follows(answer{status: 200, after: recoveryAnswer})
		w.advance(time.Hour)
		drained := rateOf(t, dead, n)
		if drained < live/2 {
			t.Errorf("the backlog drains at %.0f events/s, less than half of the %.0f/s it takes live", drained, live)
		}
		w.wantSettled()
		w.wantNoHealth("dead")
		t.Logf("%d events: %d requests until it was known to fail, %d probes in six hours, drained at %.0f/s, live %.0f/s (%.2f)",
			n, first, probes, drained, live, drained/live)
		w.close()
	})
}

// publishBulk publishes n events without waiting for each, and without noting
// them among those the invariants look at one by one.
func (w *world) publishBulk(survey string, n int) {
	w.t.Helper()
	subject := w.layout.Names.Subject(events.Survey(survey))
	for i := range n {
		body := fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2000-01-01T00:00:00Z","survey":{"id":%q},"response":{"id":"%s-%d"}}`, survey, survey, i)
		if _, err := w.js.PublishAsync(subject, body); err != nil {
			w.t.Fatal(err)
		}
		if i%1000 == 999 {
			<-w.js.PublishAsyncComplete()
		}
	}
	<-w.js.PublishAsyncComplete()
}

// rateOf is how many of n events a receiver accepted a second, from its first 2xx
// to its last. Each must have been accepted once.
func rateOf(t *testing.T, r *receiver, n int) float64 {
	t.Helper()
	accepted := map[string]int{}
	var first, last time.Time
	for _, q := range r.seen() {
		if q.status != 200 {
			continue
		}
		if accepted[q.id]++; first.IsZero() {
			first = q.at
		}
		last = q.at
	}
	if len(accepted) != n {
		t.Fatalf("%d of %d events were accepted", len(accepted), n)
	}
	for id, times := range accepted {
		if times > 1 {
			t.Errorf("event %s was accepted %d times", id, times)
		}
	}
	return float64(n) / last.Sub(first).Seconds()
}

// requestsUntil counts what a receiver was sent before a moment.
func requestsUntil(r *receiver, t time.Time) int {
	n := 0
	for _, q := range r.seen() {
		if q.at.Before(t) {
			n++
		}
	}
	return n
}
