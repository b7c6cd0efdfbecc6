package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// roomFor is how long an answer to how much waits in a lane is believed.
const roomFor = 2 * time.Second

// rooms gives replays a place in lanes: up to half of what each holds, so that
// the other half is left to live events.
type rooms struct {
	js     jetstream.JetStream
	names  events.Names
	panics *panics.Guard
	events int
	bytes  int64
	asking singleflight.Group // one question a survey at a time

	mu    sync.Mutex // guards known
	known map[events.Survey]*depth
}

// depth is how much waits in one lane, with what was added since that was asked.
type depth struct {
	events int
	asked  time.Time
}

func newRooms(js jetstream.JetStream, names events.Names, laneEvents int, laneBytes int64, guard *panics.Guard) *rooms {
	r := &rooms{js: js, names: names, panics: guard, known: map[events.Survey]*depth{}}
	r.events, r.bytes = lanes.Quota(laneEvents, laneBytes)
	return r
}

// take takes a place for an event of so many bytes, and says whether there was one.
func (r *rooms) take(ctx context.Context, survey events.Survey, size int) (bool, error) {
	if room, known := r.tryTake(survey, size); known {
		return room, nil
	}
	_, err, _ := r.asking.Do(string(survey), func() (any, error) {
		return nil, r.panics.Try(panics.PlaceSettle, func() error { // or it would panic in everybody who waits for the answer
			n, err := lanes.Depth(ctx, r.js, r.names, survey)
			if err == nil {
				r.mu.Lock()
				r.known[survey] = &depth{n, time.Now()}
				r.mu.Unlock()
			}
			return err
		})
	})
	room, _ := r.tryTake(survey, size)
	return room, err
}

// tryTake goes by what is known, if that is new enough.
func (r *rooms) tryTake(survey events.Survey, size int) (room, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.known[survey]
	if d == nil || time.Since(d.asked) > roomFor {
		return false, false
	}
	if d.events >= mostInLane(r.events, r.bytes, size) {
		return false, true
	}
	d.events++
	return true, true
}

// mostInLane is up to how many events a replay parks in a lane, if all are as large
// as this one.
func mostInLane(events int, bytes int64, size int) int {
	return int(min(int64(events)/2, bytes/2/int64(max(size, 1))))
}
