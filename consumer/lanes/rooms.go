package lanes

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"

	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// roomFor is how long an answer to how much waits in a lane is believed.
const roomFor = 2 * time.Second

// Rooms gives what is sent again, by a replay or redriven, a place in lanes: up to half
// of what each holds, so that the other half is left to live events. It is safe for
// concurrent use.
type Rooms struct {
	js     jetstream.JetStream
	names  events.Names
	o      RoomOptions
	asking singleflight.Group // one question a survey at a time

	mu    sync.Mutex // guards known
	known map[events.Survey]*depth
}

// RoomOptions is what [NewRooms] can be told. The zero value works.
type RoomOptions struct {
	Events    int   // that one survey's lane holds; 0 means the default
	Bytes     int64 // of bodies, likewise
	Rehearsal bool  // nothing is parked: each lane is looked at once, and what was taken stays taken
	Panics    *panics.Guard
}

// depth is how much waits in one lane, with what was added since that was asked.
type depth struct {
	events int
	asked  time.Time
}

// NewRooms returns the rooms of all lanes. It asks nothing yet.
func NewRooms(js jetstream.JetStream, names events.Names, o RoomOptions) *Rooms {
	o.Events, o.Bytes = Quota(o.Events, o.Bytes)
	return &Rooms{js: js, names: names, o: o, known: map[events.Survey]*depth{}}
}

// Take takes a place for an event of so many bytes, and says whether there was one.
func (r *Rooms) Take(ctx context.Context, survey events.Survey, size int) (bool, error) {
	if room, known := r.tryTake(survey, size); known {
		return room, nil
	}
	_, err, _ := r.asking.Do(string(survey), func() (any, error) {
		return nil, r.o.Panics.Try(panics.PlaceSettle, func() error { // or it would panic in everybody who waits for the answer
			n, err := Depth(ctx, r.js, r.names, survey)
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
func (r *Rooms) tryTake(survey events.Survey, size int) (room, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.known[survey]
	if d == nil || !r.o.Rehearsal && time.Since(d.asked) > roomFor {
		return false, false
	}
	if d.events >= mostInLane(r.o.Events, r.o.Bytes, size) {
		return false, true
	}
	d.events++
	return true, true
}

// mostInLane is up to how many events are parked in a lane so, if all are as large
// as this one.
func mostInLane(events int, bytes int64, size int) int {
	return int(min(int64(events)/2, bytes/2/int64(max(size, 1))))
}

// Quota is what one lane holds with the limits that a deployment has set; zero
// means the default of each, as in [Options].
func Quota(events int, bytes int64) (int, int64) {
	return cmp.Or(events, maxEvents), cmp.Or(bytes, maxBytes)
}

// Depth is how many copies stand in a survey's lane. One that was delivered a
// moment ago may still be there.
func Depth(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	stream, err := js.Stream(ctx, names.Lanes())
	if err != nil {
		return 0, fmt.Errorf("open stream %s: %w", names.Lanes(), err)
	}
	subject := names.LaneSubject(survey)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, fmt.Errorf("count what waits for survey %s: %w", survey, err)
	}
	return int(info.State.Subjects[subject]), nil //nolint:gosec // far from what an int holds
}
