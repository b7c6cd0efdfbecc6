package consumer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
)

func TestAnEventIsDeliveredSignedAndAcknowledged(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		id := w.publish("s1")
		w.advance(time.Second)
		w.wantDelivered(id, 1)
		w.wantSettled()
		got := w.internet.at("s1").seen()[0]
		if got.header.Get(delivery.HeaderAttempt) != "1" {
			t.Errorf("first attempt says number %q", got.header.Get(delivery.HeaderAttempt))
		}
	})
}

func TestA500IsTriedAgainFromItsLane(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(500, 200)
		w.start()
		id := w.publish("s1")
		w.advance(time.Second)
		w.wantRequests("s1", 1)
		w.wantDelivered(id, 0)
		w.wantSettled() // the lane has it
		w.advance(10 * time.Second)
		w.wantRequests("s1", 2)
		w.wantDelivered(id, 1)
	})
}

func TestA503IsRiddenOverWithinSeconds(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(503, 503, 200)
		w.start()
		id := w.publish("s1")
		w.advance(4 * time.Second)
		w.wantRequests("s1", 3)
		w.wantDelivered(id, 1)
		for i, q := range w.internet.at("s1").seen() {
			if want := fmt.Sprint(i + 1); q.attempt != want {
				t.Errorf("try %d says it is attempt %s", i+1, q.attempt)
			}
		}
	})
}

func TestAHangingEndpointIsCutAfterFiveSeconds(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: time.Hour}, answer{status: 200})
		w.start()
		id := w.publish("s1")
		w.advance(6 * time.Second)
		w.wantDelivered(id, 0)
		w.wantLog(`"reason":"timeout"`)
		w.advance(ackWait)
		w.wantRequests("s1", 2) // a time-out is never tried again at once
		w.wantDelivered(id, 1)
	})
}

func TestA2xxAfter4900MillisecondsCounts(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 4900 * time.Millisecond})
		w.start()
		id := w.publish("s1")
		w.advance(6 * time.Second)
		w.wantDelivered(id, 1)
		w.wantRequests("s1", 1)
		w.wantSettled()
	})
}

func TestAnEventWithoutAWebhookIsOwedToNobody(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.start()
		w.publish("nobody")
		w.advance(time.Second)
		w.wantSettled()
		w.wantRequests("nobody", 0)
	})
}

func TestAnEndpointSavedJustNowIsUsed(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.start()
		w.endpoint("late")
		id := w.publish("late")
		w.advance(time.Second)
		w.wantDelivered(id, 1)
	})
}

func TestEndpointsChangeAndVanishUnderLoad(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.endpoint("s2")
		w.start()
		var before, after []string
		for range 50 {
			before = append(before, w.publish("s1"), w.publish("s2"))
		}
		w.advance(time.Second)
		w.remove("s2")
		w.endpoint("s1") // a new revision
		for range 50 {
			after = append(after, w.publish("s1"))
			w.publish("s2")
		}
		w.advance(time.Second)
		for _, id := range append(before, after...) {
			w.wantDelivered(id, 1)
		}
		w.wantRequests("s2", 50)
		w.wantSettled()
	})
}

func TestTheEndpointBucketIsRecreated(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		first := w.publish("s1")
		w.advance(time.Second)
		if err := w.js.DeleteKeyValue(t.Context(), w.layout.Names.Endpoints()); err != nil {
			t.Fatal(err)
		}
		w.provision()
		w.endpoint("s2")
		w.advance(time.Minute)
		second := w.publish("s2")
		w.publish("s1") // its webhook went with the bucket
		w.advance(time.Minute)
		w.wantDelivered(first, 1)
		w.wantDelivered(second, 1)
		w.wantRequests("s1", 1)
		w.wantSettled()
	})
}

func TestMalformedEventsNeitherBlockNorLoop(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		for _, body := range []string{"", "null", "[]", `"x"`, `{"event":`, `{"event":"response.completed"}`, "\xff\xfe", strings.Repeat("[", 5000)} {
			w.publishMalformed("s1", body)
		}
		id := w.publish("s1")
		w.advance(10 * ackWait)
		w.wantDelivered(id, 1)
		w.wantSettled()
		w.wantRequests("s1", 1)
		if n := strings.Count(w.log.String(), "event refused"); n != 8 {
			t.Errorf("%d refusals were logged, want 8", n)
		}
		w.wantLog(`"reason":"malformed"`)
		w.wantLog(`"offset":`)
	})
}

func TestADifferentSurveyInTheSubjectIsRefused(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.endpoint("s2")
		w.start()
		body := `{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","survey":{"id":"s2"},"response":{"id":"x"}}`
		w.publishMalformed("s1", body)
		w.advance(time.Second)
		w.wantRequests("s1", 0)
		w.wantRequests("s2", 0)
		w.wantSettled()
	})
}

func TestTwoReplicasShareTheWorkWithoutDuplicates(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 100 * time.Millisecond})
		w.start()
		w.start()
		var ids []string
		for range 400 {
			ids = append(ids, w.publish("s1"))
		}
		w.advance(10 * time.Second)
		for _, id := range ids {
			w.wantDelivered(id, 1)
		}
		w.wantSettled()
		for _, n := range []string{`"replica":0`, `"replica":1`} {
			w.wantLog(n + `,"seq"`)
		}
	})
}

func TestAReplicaThatCrashesLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 200 * time.Millisecond})
		first := w.start()
		var ids []string
		for range 150 {
			ids = append(ids, w.publish("s1"))
		}
		w.advance(250 * time.Millisecond)
		first.crash()
		w.start()
		w.advance(2 * ackWait)
		twice := 0
		for _, id := range ids {
			switch n := w.internet.at("s1").accepted(id); n {
			case 1:
			case 2:
				twice++
			default:
				t.Errorf("event %s was accepted %d times", id, n)
			}
		}
		if twice > 100 {
			t.Errorf("%d duplicates, more than the 100 that were in flight", twice)
		}
		w.wantSettled()
	})
}

func TestALeavingReplicaFinishesWhatItHasBegun(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: time.Second})
		first := w.start()
		var ids []string
		for range 60 {
			ids = append(ids, w.publish("s1"))
		}
		w.advance(500 * time.Millisecond)
		first.leave()
		w.start()
		w.advance(2 * ackWait)
		for _, id := range ids {
			w.wantDelivered(id, 1)
		}
		w.wantRequests("s1", 60)
		w.wantSettled()
	})
}

func TestALeavingReplicaParksWhatItWasWaitingFor(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(503, 200)
		first := w.start()
		id := w.publish("s1")
		w.advance(0) // the first try has failed, the second is waited for
		first.leave()
		w.start()
		w.advance(10 * time.Second) // the lane's new owner has it, long before AckWait
		w.wantDelivered(id, 1)
	})
}

func TestNATSRestartsWithAttemptsInFlight(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 4 * time.Second})
		w.start()
		var ids []string
		for range 20 {
			ids = append(ids, w.publish("s1"))
		}
		w.advance(2 * time.Second)
		w.halt()
		w.advance(time.Second)
		w.boot()
		w.advance(time.Minute)
		for _, id := range ids {
			w.wantDelivered(id, 1)
		}
		w.wantRequests("s1", 20)
		w.wantSettled()
	})
}

func TestAnAnswerThatComesWhileNATSIsAwayIsAcknowledgedLater(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 200, after: 2 * time.Second})
		w.start()
		id := w.publish("s1")
		w.advance(time.Second)
		w.halt()
		w.advance(10 * time.Second) // the 2xx arrives; nobody is there to take the ack
		w.boot()
		w.advance(3 * ackWait)
		w.wantDelivered(id, 1)
		w.wantRequests("s1", 1)
		w.wantSettled()
	})
}

func TestARedeliveryTakesOverTheRunningAttempt(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.layout.AckWait = 3 * time.Second // shorter than the attempt; progress is told every half second
		if _, err := provision.Run(t.Context(), w.js, w.layout, provision.Update, nopLog); err != nil {
			t.Fatal(err)
		}
		w.endpoint("s1").follows(answer{status: 200, after: 4500 * time.Millisecond})
		w.start()
		id := w.publish("s1")
		w.advance(time.Second)
		w.halt() // progress cannot be told, and the server forgets when it delivered
		w.advance(time.Second)
		w.boot()
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
		w.wantRequests("s1", 1)
		w.wantSettled()
	})
}

func TestRedirectsAndClientErrorsComeAgain(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusNotModified, http.StatusNotFound, http.StatusUnauthorized} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.endpoint("s1").follows(answer{status: status, header: map[string]string{"Location": "http://receiver.test/other"}}, answer{status: 204})
				w.start()
				id := w.publish("s1")
				w.advance(ackWait + 5*time.Second)
				w.wantDelivered(id, 1)
				w.wantRequests("other", 0)
			})
		})
	}
}

func TestAURLMendedBetweenTriesIsUsedByTheNextOne(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(503)
		w.start()
		id := w.publish("s1")
		w.advance(0)
		w.wantRequests("s1", 1)
		e := w.stored("s1")
		e.URL = "http://receiver.test/mended"
		w.put(e)
		w.advance(4 * time.Second)
		w.wantRequests("mended", 1)
		w.wantRequests("s1", 1)
		if w.internet.at("mended").accepted(id) != 1 {
			t.Error("the event did not arrive at the new URL")
		}
		w.internet.move("mended", "s1") // where the invariants look
	})
}

// A try is for the endpoint as it is: one that was switched off in between is not called again.
func TestAnEndpointSwitchedOffBetweenTriesIsLeftAlone(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").follows(answer{status: 503}, answer{status: 204})
		w.start()
		id := w.publish("s1")
		w.advance(0)
		w.wantRequests("s1", 1)
		e := w.stored("s1")
		e.Enabled = false
		w.put(e)
		w.advance(time.Minute)
		w.wantRequests("s1", 1)
		e = w.stored("s1")
		e.Enabled = true
		w.put(e)
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
	})
}
