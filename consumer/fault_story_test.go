package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
)

func TestWhenOurNameServiceFailsNoEndpointIsBlamed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		for i := range 12 {
			w.endpointAt(fmt.Sprint("s", i), fmt.Sprintf("host%d.test", i))
		}
		w.start()
		w.internet.loseNames(true)
		var ids []string
		for range 20 {
			for i := range 12 {
				ids = append(ids, w.publish(fmt.Sprint("s", i)))
			}
			w.advance(time.Second)
		}
		for i := 4; i < 12; i++ { // the first four could have been theirs: that takes five hosts to know
			w.wantNoHealth(fmt.Sprint("s", i))
		}
		w.wantLog("the name service fails for many hosts at once")
		w.internet.loseNames(false)
		w.advance(time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
		for i := range 12 {
			w.wantNoHealth(fmt.Sprint("s", i))
		}
	})
}

func TestAPoisonousHeadIsNotTakenForADeadEndpoint(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		w.start()
		poison := append(w.publishPoison(r, "s1"), w.publishPoison(r, "s1")...)
		ids := w.publishMany("s1", 30)
		w.advance(time.Minute)
		w.wantHealth("s1", true)
		r.answers(200)
		w.advance(6 * time.Minute) // two probes with each of the poisonous ones, at most
		w.advance(15 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantHealth("s1", false)
		w.wantParked(len(poison))
	})
}

func TestAnEndpointSwitchedOffPastItsQuotaGetsEverythingWhenSwitchedOn(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 30
		w.endpoint("s1")
		w.start()
		w.start()
		e := w.stored("s1")
		e.Enabled = false
		w.put(e)
		ids := w.publishMany("s1", 60)
		w.advance(5 * time.Second)
		ids = append(ids, w.publishMany("s1", 100)...)
		w.advance(time.Minute)
		w.wantSettled()
		w.wantParkedAtMost(60)
		w.wantRequests("s1", 0)
		e = w.stored("s1")
		e.Enabled = true
		w.put(e)
		w.advance(4 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}

// TestAPausedOwnerStartsNothingWhenItWakesUp stops an owner for longer than its
// leases live, as a stopped process or a stalled machine is. Another takes its
// shards over; when it wakes up it must not go on where it was.
func TestAPausedOwnerStartsNothingWhenItWakesUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		w.layout.LeaseTTL = 15 * time.Second // of the holders alone: see expire
		others, wire := w.wire, &bustest.Wire{}
		w.wire = wire
		paused := w.start()
		w.wire = others
		ids := w.publishMany("s1", 80)
		w.advance(time.Minute)
		w.wantParked(80)
		wire.Hold()
		r.follows(answer{status: 200, after: 50 * time.Millisecond})
		w.advance(16 * time.Second)
		paused.expire()
		before := len(r.seen())
		w.start()
		w.advance(6 * time.Minute)
		w.wantAllDelivered(ids[before:])
		w.wantParked(0)
		seen := len(r.seen())
		wire.Release()
		w.advance(time.Minute)
		if n := len(r.seen()) - seen; n != 0 {
			t.Errorf("the owner that woke up made %d attempts with what another had delivered", n)
		}
		twice := 0
		for _, id := range ids {
			n := r.accepted(id)
			if n == 0 {
				t.Errorf("event %s was not delivered", id)
			}
			twice += max(n-1, 0)
		}
		if twice > 1 {
			t.Errorf("%d duplicates, more than the one probe that may have been in flight", twice)
		}
		if strings.Contains(w.log.String(), "panic") {
			t.Error("something panicked")
		}
	})
}
