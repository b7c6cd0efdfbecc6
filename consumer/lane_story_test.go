package consumer_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// publishMany publishes n events of a survey and returns their ids.
func (w *world) publishMany(survey string, n int) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = w.publish(survey)
	}
	return ids
}

func (w *world) wantAllDelivered(ids []string) {
	w.t.Helper()
	for _, id := range ids {
		w.wantDelivered(id, 1)
	}
}

func (w *world) wantParked(n int) {
	w.t.Helper()
	if got := len(w.parked()); got != n {
		w.t.Errorf("%d events are parked, want %d", got, n)
	}
}

// wantHealth checks whether a survey has a health record.
func (w *world) wantHealth(survey string, failing bool) {
	w.t.Helper()
	if r, _ := w.health(survey); r.Failing() != failing {
		w.t.Errorf("survey %s is failing: %v, want %v", survey, r.Failing(), failing)
	}
}

func TestADeadEndpointIsLeftAloneAndDrainsAtOnceWhenItWorks(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 20 * time.Second
		dead := w.endpoint("dead").answers(500)
		w.endpoint("healthy")
		w.start()
		owed := w.publishMany("dead", 200)
		fine := w.publishMany("healthy", 200)
		w.advance(2 * time.Second)
		w.wantAllDelivered(fine)
		w.wantSettled()
		w.wantParked(200)
		w.wantHealth("dead", true)
		if n := len(dead.seen()); n > 20 {
			t.Errorf("the dead endpoint got %d requests in the first two seconds", n)
		}
		w.advance(30 * time.Minute)
		if n := len(dead.seen()); n > 35 {
			t.Errorf("the dead endpoint got %d requests in half an hour", n)
		}
		dead.answers(200)
		w.advance(6 * time.Minute)
		w.wantAllDelivered(owed)
		w.wantParked(0)
		w.wantHealth("dead", false)
		last := w.publish("dead")
		w.advance(time.Second)
		w.wantDelivered(last, 1)
	})
}

func TestAHangingEndpointIsParkedAfterOneTimeOut(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		hanging := w.endpoint("hanging").follows(answer{status: 200, after: time.Hour})
		w.start()
		ids := w.publishMany("hanging", 90)
		w.advance(10 * time.Second)
		w.wantSettled()
		if n := len(hanging.seen()); n > 10 {
			t.Errorf("the hanging endpoint got %d requests", n)
		}
		hanging.answers(200)
		w.advance(6 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
	})
}

func TestAnEventThatFailsByItselfHoldsNobodyUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		s1 := w.endpoint("s1")
		poison := w.publishPoison(s1, "s1")
		w.start()
		poison = append(poison, w.publishPoison(s1, "s1")...)
		var fine []string
		for range 60 {
			fine = append(fine, w.publish("s1"))
			w.advance(time.Second)
		}
		w.wantAllDelivered(fine)
		w.wantHealth("s1", false)
		tries := 0
		for _, q := range s1.seen() {
			if q.id == poison[len(poison)-1] {
				tries++
			}
		}
		if tries < 2 || tries > 4 {
			t.Errorf("the poisonous event was tried %d times in a minute, want 3 or so: at once, after 5 s, after 30 s", tries)
		}
	})
}

// publishPoison publishes an event its receiver refuses while it takes others.
func (w *world) publishPoison(r *receiver, survey string) []string {
	r.mu.Lock()
	if r.refuses == nil {
		r.refuses = map[string]int{}
	}
	r.refuses[w.nextID()] = http.StatusBadRequest // before it can arrive
	r.mu.Unlock()
	return []string{w.publish(survey)}
}

// The times of a try that nobody was there to make are made up for, and soon: the next
// ones are minutes later.
func TestTriesMissedWhileNobodyOwnedALaneAreMadeSoon(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		s1 := w.endpoint("s1")
		first := w.start()
		var refused []string
		for range 20 {
			refused = append(refused, w.publishPoison(s1, "s1")...)
			w.publish("s1")
			w.advance(time.Second)
		}
		w.advance(5 * time.Second)
		first.crash()
		s1.mu.Lock()
		clear(s1.refuses)
		s1.mu.Unlock()
		w.advance(30 * time.Second)
		w.wantParked(len(refused))
		w.start()
		w.advance(12 * time.Second)
		w.wantAllDelivered(refused)
		w.wantParked(0)
	})
}

func TestAMendedEndpointIsTriedAtOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(500)
		w.start()
		ids := w.publishMany("s1", 30)
		w.advance(10 * time.Minute)
		w.internet.at("s1").answers(200)
		e := w.stored("s1")
		e.Description = "mended"
		w.put(e)
		w.advance(2 * time.Second) // long before the next probe
		w.wantAllDelivered(ids)
		w.wantHealth("s1", false)
	})
}

func TestAnEndpointMendedWithinSecondsIsTriedAtOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").follows(answer{status: 200, after: time.Hour})
		w.start()
		ids := w.publishMany("s1", 50)
		w.advance(6 * time.Second) // it has just timed out
		r.answers(200)
		e := w.stored("s1")
		e.Description = "mended"
		w.put(e)
		w.advance(6 * time.Second) // a probe that had begun before still hangs for five
		w.wantAllDelivered(ids)
		w.wantHealth("s1", false)
		w.wantParked(0)
	})
}

func TestARemovedEndpointTurnsItsLaneIntoDeadLetters(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(500)
		w.start()
		w.publishMany("s1", 30)
		w.advance(time.Minute)
		w.wantParked(30)
		w.remove("s1")
		w.advance(time.Minute)
		w.wantParked(0)
		w.wantHealth("s1", false)
		letters := w.letters()
		if len(letters) != 30 || letters[0].Reason != "no-endpoint" {
			t.Errorf("%d dead letters, want 30 for no-endpoint", len(letters))
		}
	})
}

func TestEventsOfADisabledEndpointWaitUntilItIsEnabled(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 20 * time.Second
		w.endpoint("s1")
		w.start()
		e := w.stored("s1")
		e.Enabled = false
		w.put(e)
		ids := w.publishMany("s1", 20)
		w.advance(time.Hour)
		w.wantRequests("s1", 0)
		w.wantParked(20)
		w.wantSettled()
		e.Enabled = true
		w.put(e)
		w.advance(2 * time.Second)
		w.wantAllDelivered(ids)
		w.wantParked(0)
	})
}

func TestARetryAfterHoldsTheWholeEndpoint(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").follows(answer{status: 503, header: map[string]string{"Retry-After": "600"}})
		w.start()
		w.publishMany("s1", 20)
		w.advance(5 * time.Second)
		n := len(r.seen())
		w.advance(9 * time.Minute)
		if more := len(r.seen()) - n; more > 0 {
			t.Errorf("%d requests while the endpoint asked for ten minutes", more)
		}
		r.answers(200)
		w.advance(10 * time.Minute)
		w.wantParked(0)
	})
}

func TestALeavingOwnerHandsItsLanesOverWithoutADuplicate(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		first := w.start() // alone, it owns every shard
		ids := w.publishMany("s1", 100)
		w.advance(time.Minute)
		r.follows(answer{status: 200, after: 500 * time.Millisecond})
		w.put(w.stored("s1")) // a new revision: drains now
		w.advance(700 * time.Millisecond)
		w.start()
		accepted := 0
		for _, id := range ids {
			accepted += r.accepted(id)
		}
		if waiting := len(w.parked()); accepted == 0 || accepted > 90 || waiting == 0 {
			t.Fatalf("%d events were accepted and %d wait when the owner leaves: it does not drain", accepted, waiting)
		}
		first.leave()
		w.advance(10 * time.Minute)
		w.wantAllDelivered(ids) // each once
		w.wantParked(0)
	})
}

func TestAnOwnerThatCrashesWhileDrainingLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		first := w.start()
		ids := w.publishMany("s1", 100)
		w.advance(time.Minute)
		r.follows(answer{status: 200, after: 500 * time.Millisecond})
		w.put(w.stored("s1")) // a new revision: drains now
		w.advance(700 * time.Millisecond)
		first.crash()
		w.start()
		w.advance(10 * time.Minute)
		twice := 0
		for _, id := range ids {
			switch n := r.accepted(id); n {
			case 1:
			case 2:
				twice++
			default:
				t.Errorf("event %s was accepted %d times", id, n)
			}
		}
		if twice > 64 {
			t.Errorf("%d duplicates, more than could be in flight in one lane", twice)
		}
		w.wantParked(0)
	})
}

func TestLanesSurviveARestartOfNATS(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		w.start()
		ids := w.publishMany("s1", 50)
		w.advance(time.Minute)
		w.halt()
		w.advance(10 * time.Second)
		w.boot()
		r.answers(200)
		w.advance(15 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
	})
}

func TestAFullLanesStreamKeepsEventsWhereTheyAre(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		cfg := w.layout.Own()[0]
		cfg.MaxMsgs = 10
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		r := w.endpoint("s1").answers(500)
		w.endpoint("healthy")
		w.start()
		ids := w.publishMany("s1", 30)
		fine := w.publishMany("healthy", 30)
		w.advance(10 * time.Second)
		w.wantAllDelivered(fine)
		w.wantParked(10)
		w.wantLog("could not be parked")
		r.answers(200)
		w.advance(10 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantSettled()
		w.wantParked(0)
	})
}

func TestTheLargestEventParksAndArrivesByteForByte(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1").answers(500)
		w.start()
		head := `{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","survey":{"id":"s1"},"response":{"id":"big"},"pad":"`
		body := head + fmt.Sprintf("%0*d", 1<<20-len(head)-2, 0) + `"}`
		w.publishRaw("s1", "big", body, false)
		w.advance(time.Second)
		w.wantParked(1)
		r.answers(200)
		w.advance(time.Minute)
		w.wantDelivered("big", 1)
	})
}

// TestAHostThatAnswersLateGetsItsEvents: so many surveys at once make it suspect, and it
// takes 30 events a second all the same.
func TestAHostThatAnswersLateGetsItsEvents(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		const surveys = 64
		for i := range surveys {
			w.endpointAt(fmt.Sprint("s", i), "slow.test").follows(answer{status: 200, after: 1500 * time.Millisecond})
		}
		w.start()
		var ids []string
		for i := range surveys {
			ids = append(ids, w.publish(fmt.Sprint("s", i)))
		}
		for i := range 300 {
			ids = append(ids, w.publish(fmt.Sprint("s", i%surveys)))
			w.advance(time.Second / 30)
		}
		w.advance(time.Minute)
		w.wantAllDelivered(ids)
		w.wantParked(0)
	})
}

func TestOwnersLimitsHold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 100 * time.Millisecond})
		e := w.stored("s1")
		e.MaxInFlight = 2
		w.put(e)
		w.start()
		ids := w.publishMany("s1", 60)
		w.advance(time.Minute)
		w.wantAllDelivered(ids)
		if n := w.internet.at("s1").mostAtOnce(100 * time.Millisecond); n > 2 {
			t.Errorf("%d requests at once, the owner allows 2", n)
		}
	})
}

// TestALaneOfALimitedEndpointDrainsWhileMoreComes: an endpoint that may be sent four at
// once, and answers each within 20 ms, takes 200 a second. Half of it must be there for a
// lane, and what comes live, four at once every 50 ms, must not make the lane grow.
func TestALaneOfALimitedEndpointDrainsWhileMoreComes(t *testing.T) {
	const (
		took    = 20 * time.Millisecond
		atOnce  = 4
		backlog = 400
		takes   = atOnce * int(time.Second/took)
	)
	story(t, func(t *testing.T, w *world) {
		failing, working := answer{status: 500, after: took}, answer{status: 200, after: took}
		r := w.endpoint("s1").follows(failing)
		e := w.stored("s1")
		e.MaxInFlight = atOnce
		w.put(e)
		w.start()
		w.publishMany("s1", backlog)
		w.advance(time.Minute)
		r.follows(working)
		w.advance(2 * time.Minute)
		if drained := rateOf(t, r, backlog); drained < float64(takes)/2 {
			t.Errorf("the lane drains at %.0f events/s, less than half of %d", drained, takes)
		}

		r.follows(failing)
		w.publishMany("s1", backlog/2)
		w.advance(10 * time.Second)
		r.follows(working)
		for range 15 * 20 {
			w.publishMany("s1", 4)
			w.advance(50 * time.Millisecond)
		}
		w.advance(2 * time.Second)
		w.wantParked(0)
		if n := r.mostAtOnce(took); n > atOnce {
			t.Errorf("%d requests at once, the owner allows %d", n, atOnce)
		}
	})
}
