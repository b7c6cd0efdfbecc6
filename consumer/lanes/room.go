package lanes

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

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

// room is what a lane can still take.
type room struct {
	events int
	bytes  int64
}

// room is what there is in a lane; of a disabled endpoint's none, for nothing leaves it.
func (s *shard) room(l *lane) room {
	if l.disabled {
		return room{}
	}
	return room{events: s.o.o.maxEvents() - l.live, bytes: s.o.o.maxBytes() - l.bytes}
}

// take takes what the first of some events need, and returns how many those are.
func (r *room) take(ws []Waiting) (n int) {
	for n < len(ws) && r.events > 0 && r.bytes > 0 {
		r.events, r.bytes = r.events-1, r.bytes-int64(len(ws[n].Body))
		n++
	}
	return n
}
