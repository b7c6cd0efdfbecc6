package consumer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
)

func TestWhatALaneCannotHoldIsBroughtAfterRecovery(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		w.laneMost = 50
		dead := w.endpoint("dead").answers(500)
		other := w.endpoint("other").answers(500)
		w.endpoint("healthy")
		w.start()
		w.start()
		owed := w.publishMany("dead", 120)
		w.advance(3 * time.Second)
		owed = append(owed, w.publishMany("dead", 300)...)
		parked := w.publishMany("other", 20)
		fine := w.publishMany("healthy", 50)
		w.advance(3 * time.Second)
		w.wantAllDelivered(fine)
		w.wantSettled()
		if n := len(w.parked()); n > 50+20+120 {
			t.Errorf("%d events are parked, far above the quota", n)
		}
		if r, _ := w.health("dead"); r.OwedFrom == 0 || !r.Failing() {
			t.Errorf("the record of a full lane is %+v", r)
		}
		if r, _ := w.health("other"); r.OwedFrom != 0 {
			t.Errorf("the record of a lane that is not full is %+v", r)
		}
		w.advance(3 * time.Hour)
		dead.answers(200)
		other.answers(200)
		w.advance(6 * time.Minute)
		owed = append(owed, w.publishMany("dead", 30)...)
		w.advance(3 * time.Minute)
		w.wantAllDelivered(owed)
		w.wantAllDelivered(parked)
		w.wantParked(0)
		w.wantNoHealth("dead")
		w.wantNoHealth("other")
	})
}

// TestALaneLeftWithPromisedEventsAloneIsFilledUp: what replicas park before they hear
// of a promise is brought again, and nothing else in the lane can be started then.
func TestALaneLeftWithPromisedEventsAloneIsFilledUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		const many = 520 // more than a lane has that is not filled up
		w.laneMost = 600
		r := w.endpoint("s1").answers(500)
		w.start()
		ids := w.publishMany("s1", w.laneMost)
		w.advance(3 * time.Second)
		if h, _ := w.health("s1"); h.OwedFrom == 0 {
			t.Fatal("the lane is not full")
		}
		late := w.publishMany("s1", many)
		w.advance(time.Second)
		for _, id := range late {
			must(t, lanes.Park(t.Context(), w.js, w.layout.Names, lanes.Waiting{
				Survey: "s1", EventID: id, Source: w.published[id].seq, Published: time.Now().Add(-time.Second), Parked: time.Now(),
				Reason: "5xx", DueNow: true, Body: []byte(w.published[id].body),
			}))
		}
		r.answers(200)
		w.put(w.stored("s1")) // drains before the next promise makes room
		w.advance(5 * time.Minute)
		w.wantAllDelivered(append(ids, late...))
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}

// wantNoHealth checks that nothing is known against a survey's endpoint.
func (w *world) wantNoHealth(survey string) {
	w.t.Helper()
	if r, there := w.health(survey); there {
		w.t.Errorf("survey %s still has the health record %+v", survey, r)
	}
}

func (w *world) wantParkedAtMost(n int) {
	w.t.Helper()
	if got := len(w.parked()); got > n {
		w.t.Errorf("%d events are parked, want at most %d", got, n)
	}
}

func TestAnEndpointThatSaysGoneIsLeftAloneUntilItIsChanged(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1")
		w.endpoint("healthy")
		w.start()
		w.start()
		first := w.publishMany("s1", 20)
		w.advance(time.Second)
		r.answers(http.StatusGone)
		later := w.publishMany("s1", 40)
		w.advance(time.Minute)
		before := len(r.seen())
		if before > 20+16 { // its budget, when the first of them came back
			t.Errorf("%d requests, although it said that it is gone", before-20)
		}
		h, _ := w.health("s1")
		if h.Disabled == nil || h.Disabled.By != health.ByEndpoint || h.Reason != "410" {
			t.Fatalf("the record is %+v", h)
		}
		w.advance(5 * time.Hour)
		later = append(later, w.publishMany("s1", 40)...)
		w.advance(2 * time.Hour)
		w.wantSettled()
		w.wantParkedAtMost(40) // what was in flight when it began; the others are owed
		if n := len(r.seen()); n > before {
			t.Errorf("%d requests to an endpoint that is disabled", n-before)
		}
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(5 * time.Minute)
		w.wantAllDelivered(first)
		w.wantAllDelivered(later)
		w.wantNoHealth("s1")
	})
}

func TestAnEndpointThatFailsForFiveDaysIsDisabled(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		long := 5 * 24 * time.Hour // the default
		if raced {
			long = 12 * time.Hour
			w.disable = long
		}
		r := w.endpoint("s1").answers(500)
		w.start()
		ids := w.publishMany("s1", 30)
		w.advance(long - time.Hour)
		if h, _ := w.health("s1"); h.Disabled != nil {
			t.Errorf("disabled before its time: %+v", h)
		}
		w.advance(2 * time.Hour)
		h, _ := w.health("s1")
		if h.Disabled == nil || h.Disabled.By != health.ByService {
			t.Fatalf("the record is %+v", h)
		}
		seen := len(r.seen())
		ids = append(ids, w.publishMany("s1", 30)...)
		w.advance(5 * time.Hour)
		if n := len(r.seen()) - seen; n > 0 {
			t.Errorf("%d requests to an endpoint that is disabled", n)
		}
		w.wantSettled()
		w.wantParkedAtMost(30) // what was there when it began; the others are owed
		r.answers(200)
		w.put(w.stored("s1"))
		w.advance(5 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantNoHealth("s1")
		if n := len(w.letters()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestWhatOnlyTheLaneHasBecomesADeadLetterWhenItsEndpointIsDisabled(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		w.disable = 6 * time.Hour
		r := w.endpoint("s1").answers(500)
		w.start()
		w.publishMany("s1", 30)
		w.advance(time.Minute)
		stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		must(t, stream.Purge(t.Context()))
		w.publishMany("s1", 10)
		w.advance(7 * time.Hour)
		w.wantParked(0)
		letters := w.letters()
		if len(letters) != 30 || letters[0].Reason != "disabled" {
			t.Errorf("%d dead letters, want 30 for the endpoint being disabled", len(letters))
		}
		for _, l := range letters {
			if tries := r.tries(l.EventID); l.Attempts != len(tries) || l.First.IsZero() != (l.Attempts == 0) || l.Attempts == 0 && !l.Last.IsZero() {
				t.Errorf("the letter of an event that was tried %d times says %d, first %s, last %s", len(tries), l.Attempts, l.First, l.Last)
			}
		}
		if r, _ := w.health("s1"); r.OwedFrom != 31 {
			t.Errorf("the other ten are not owed: the record is %+v", r)
		}
	})
}

func TestADisabledEndpointThatIsEnabledAndStillDeadIsProbedAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1").answers(http.StatusGone)
		w.start()
		ids := w.publishMany("s1", 30)
		w.advance(time.Hour)
		r.answers(500)
		w.put(w.stored("s1"))
		w.advance(2 * time.Hour)
		if n := len(r.seen()); n > 60 {
			t.Errorf("%d requests in two hours", n)
		}
		w.wantHealth("s1", true)
		r.answers(200)
		w.advance(10 * time.Minute)
		w.wantAllDelivered(ids)
		w.wantNoHealth("s1")
	})
}

func TestARemovedEndpointTurnsWhatIsOwedIntoDeadLetters(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		w.laneMost = 20
		w.endpoint("s1").answers(500)
		w.start()
		w.publishMany("s1", 40)
		w.advance(2 * time.Second)
		w.publishMany("s1", 60)
		w.advance(time.Minute)
		w.remove("s1")
		w.advance(5 * time.Minute)
		w.wantParked(0)
		w.wantNoHealth("s1")
		if letters := w.letters(); len(letters) != 100 {
			t.Errorf("%d dead letters, want all 100", len(letters))
		}
	})
}

func TestAnOwnerThatCrashesWhileBringingLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		w.laneMost = 20
		r := w.endpoint("s1").answers(500)
		first := w.start()
		ids := w.publishMany("s1", 40)
		w.advance(2 * time.Second)
		ids = append(ids, w.publishMany("s1", 400)...)
		w.advance(time.Minute)
		r.follows(answer{status: 200, after: 300 * time.Millisecond})
		w.put(w.stored("s1"))
		w.advance(2 * time.Second)
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
		if twice > 64+20 {
			t.Errorf("%d duplicates, more than were in flight or brought and not yet written down", twice)
		}
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}

func TestAnEndpointDownForFourDaysGetsEverything(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1").answers(500)
		replica := w.start()
		ids := w.publishMany("s1", 50)
		long := 4 * 24 * time.Hour
		if raced {
			long = 6 * time.Hour
		}
		w.advance(long)
		r.answers(200)
		poison := w.publishPoison(r, "s1")
		w.advance(10 * time.Minute)
		w.wantAllDelivered(ids)
		replica.leave() // what an owner knows of the outage survives it
		w.start()
		if raced {
			return // three days more are a minute, and task test:stories tells of them
		}
		w.advance(69 * time.Hour)
		if n := len(w.letters()); n != 0 {
			t.Errorf("%d dead letters, although the last try is 70 h after the endpoint began to work", n)
		}
		w.advance(3 * time.Hour)
		if letters := w.letters(); len(letters) != 1 || letters[0].EventID != poison[0] {
			t.Errorf("dead letters %+v, want the one event that fails by itself", letters)
		}
		w.wantNoHealth("s1")
	})
}

func TestRetryAfterIsHeededWithinReason(t *testing.T) {
	for name, c := range map[string]struct {
		value    string
		at, most time.Duration
	}{
		"a date":     {time.Date(2000, 1, 1, 0, 20, 0, 0, time.UTC).Format(http.TimeFormat), 19 * time.Minute, 25 * time.Minute},
		"ten years":  {"315360000", 59 * time.Minute, 66 * time.Minute},
		"the past":   {"Mon, 02 Jan 1995 15:04:05 GMT", 0, time.Minute},
		"negative":   {"-5", 0, time.Minute},
		"not a time": {"soon", 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.calm = 5 * time.Minute
				r := w.endpoint("s1").follows(answer{status: 503, header: map[string]string{"Retry-After": c.value}}, answer{status: 200})
				w.start()
				id := w.publish("s1")
				began := time.Now()
				w.advance(2 * time.Hour)
				w.wantDelivered(id, 1)
				seen := r.seen()
				if took := seen[len(seen)-1].at.Sub(began); took < c.at || took > c.most {
					t.Errorf("tried again after %s, want between %s and %s", took, c.at, c.most)
				}
			})
		})
	}
}

// TestWhatIsOwedIsSavedBeforeTheEventStreamDropsIt lets the event stream roll over
// while something is owed to an endpoint, for whatever reason: it must not go with the
// oldest.
func TestWhatIsOwedIsSavedBeforeTheEventStreamDropsIt(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		owner  func(e *config.Endpoint) // what the endpoint's owner has set
		reason string
		least  int // dead letters
	}{
		"it is disabled":                        {http.StatusGone, nil, "disabled", 50},
		"it fails, its lane is full":            {http.StatusInternalServerError, nil, "failing", 50},
		"it is switched off":                    {http.StatusOK, func(e *config.Endpoint) { e.Enabled = false }, "no-room", 50},
		"it cannot be used":                     {http.StatusOK, func(e *config.Endpoint) { e.Secrets[0].Sealed = e.Secrets[0].Sealed[:40] }, "no-room", 50},
		"it is limited to less than what comes": {http.StatusOK, func(e *config.Endpoint) { e.RatePerSecond = 0.005 }, "no-room", 20},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.laneMost = 30
				stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
				must(t, err)
				cfg := stream.CachedInfo().Config
				cfg.MaxMsgs = 400
				_, err = w.js.UpdateStream(t.Context(), cfg)
				must(t, err)
				r := w.endpoint("s1").answers(c.status)
				w.endpoint("other")
				mended, e := w.stored("s1"), w.stored("s1")
				if c.owner != nil {
					c.owner(&e)
					w.put(e)
				}
				w.start()
				w.publishMany("s1", 30)
				w.advance(2 * time.Minute)
				for range 30 {
					w.publishMany("s1", 5)
					w.publishMany("other", 20)
					w.advance(2 * time.Minute)
				}
				letters := w.letters()
				if len(letters) < c.least || letters[0].Reason != c.reason {
					t.Errorf("%d dead letters, want most of what was owed, for %q", len(letters), c.reason)
				}
				r.answers(200)
				w.put(mended)
				w.advance(10 * time.Minute)
				w.wantLogWithout("has dropped these sequences")
				letters = w.letters()
				if delivered := r.acceptedInAll(); delivered+len(letters) != 180 {
					t.Errorf("%d delivered and %d dead letters, of 180", delivered, len(letters))
				}
				w.wantNoHealth("s1")
			})
		})
	}
}

// wantLogWithout checks that something was not said.
func (w *world) wantLogWithout(text string) {
	w.t.Helper()
	if strings.Contains(w.log.String(), text) {
		w.t.Errorf("the log says %q", text)
	}
}
