package consumer_test

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// TestAnOwnersLimitHoldsAcrossReplicasWhileALaneDrains: an endpoint that was dead works
// again, and is owed more than its lane holds. While the promise stands its lane has the
// whole limit, for nobody else tries anything but what a replay sends. When it has
// lapsed every replica tries live events again, and the lane drains on beside them.
func TestAnOwnersLimitHoldsAcrossReplicasWhileALaneDrains(t *testing.T) {
	const (
		perSecond = 6
		atOnce    = 3
		took      = time.Second * atOnce / perSecond // so that either lets as many through
		lane      = 2000                             // more than is brought at once: it is full only while its endpoint fails
	)
	rate := func(e *config.Endpoint) { e.RatePerSecond = perSecond }
	inFlight := func(e *config.Endpoint) { e.MaxInFlight = atOnce }
	for name, c := range map[string]struct {
		limit    func(e *config.Endpoint)
		replayed bool // what was delivered before is sent again while the promise stands
	}{
		"of a rate":                          {rate, false},
		"of attempts at once":                {inFlight, false},
		"of a rate, with a replay":           {rate, true},
		"of attempts at once, with a replay": {inFlight, true},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.calm, w.laneMost = 5*time.Minute, lane
				r := w.endpoint("s1")
				w.start()
				w.start()
				var before []string
				for range 6 {
					before = append(before, w.publishMany("s1", 50)...)
					w.advance(time.Second)
				}
				e := w.stored("s1")
				c.limit(&e)
				w.put(e)
				r.answers(500)
				ids := w.publishMany("s1", lane+20)
				w.advance(5 * time.Second)
				ids = append(ids, w.publishMany("s1", 400)...)
				w.advance(time.Minute)

				r.follows(answer{status: 200, after: took})
				w.put(e) // it is probed at once
				began := time.Now()
				w.advance(5 * time.Second)
				if c.replayed {
					w.replay(func(r *replay.Record) { r.Surveys, r.End = []events.Survey{"s1"}, uint64(len(before)) })
				}
				w.advance(45 * time.Second)
				if h, _ := w.health("s1"); h.Failing() || !h.PromisedAt(time.Now()) {
					t.Errorf("after a minute the record is %+v", h)
				}
				if n, all := since(r, began), 50*perSecond; n < all*7/10 && !c.replayed {
					t.Errorf("%d requests, and the owner allows %d: nobody but the lane sends any", n, all)
				}
				w.advance(150 * time.Second)
				if h, _ := w.health("s1"); h.OwedFrom == 0 || h.PromisedAt(time.Now()) {
					t.Errorf("after more than three the record is %+v", h)
				}
				for range 60 {
					ids = append(ids, w.publishMany("s1", perSecond+2)...)
					w.advance(time.Second)
				}
				w.advance(10 * time.Second)
				const window = 20 * time.Second
				if n, most := mostWithin(r, began, window), perSecond*20+2*perSecond; e.RatePerSecond > 0 && n > most {
					t.Errorf("%d requests within %s, the owner allows %d a second", n, window, perSecond)
				}
				if n := mostWithin(r, began, took); e.MaxInFlight > 0 && n > atOnce {
					t.Errorf("%d requests at once, the owner allows %d", n, atOnce)
				}

				e.MaxInFlight, e.RatePerSecond = 0, 0
				w.put(e)
				w.advance(5 * time.Minute)
				w.wantNoHealth("s1")
				w.wantParked(0)
				w.wantAllDelivered(ids)
				if c.replayed {
					w.wantReplayed(before, len(before))
				}
			})
		})
	}
}

// since is how many requests came from a moment on.
func since(r *receiver, began time.Time) int { return mostWithin(r, began, time.Hour) }

// mostWithin is how many requests came within so long at most, from a moment on.
func mostWithin(r *receiver, began time.Time, window time.Duration) int {
	seen, first, most := r.seen(), 0, 0
	for i, q := range seen {
		for seen[first].at.Before(began) || q.at.Sub(seen[first].at) >= window {
			if first++; first > i {
				break
			}
		}
		most = max(most, i-first+1)
	}
	return most
}
