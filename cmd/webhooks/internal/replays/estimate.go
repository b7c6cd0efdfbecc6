package replays

import (
	"context"

	"github.com/popsee/webhooks/consumer/replay"
)

// Estimate is how long a replay would take.
type Estimate struct {
	Read    uint64  `json:"read"`                 // events that it would read: its rate counts those it passes over too
	Rate    float64 `json:"rate"`                 // events a second; 0: as fast as it goes
	Seconds float64 `json:"seconds"`              // that it would take at least; 0: not known
	Like    string  `json:"seconds_as,omitempty"` // at full speed: the earlier replay that was as fast
}

// estimate works it out. How fast full speed is only an earlier replay can tell.
func (d *Desk) estimate(ctx context.Context, r replay.Record) (e Estimate, err error) {
	e.Rate = r.Rate
	e.Read, err = asked(ctx, func(ctx context.Context) (uint64, error) {
		return replay.Count(ctx, d.js, d.names, r.Surveys, r.Start, r.End)
	})
	if err != nil {
		return e, err
	}
	if r.Rate > 0 {
		e.Seconds = float64(e.Read) / r.Rate
		return e, nil
	}
	all, err := asked(ctx, func(ctx context.Context) ([]replay.Record, error) { return replay.List(ctx, d.js, d.names) })
	if fast, perSecond := fullSpeed(all); perSecond > 0 {
		e.Seconds, e.Like = float64(e.Read)/perSecond, fast
	}
	return e, err
}

// tellingFrom is how many events a replay must have had for its speed to mean
// something.
const tellingFrom = 1000

// fullSpeed finds the replay that was the fastest at full speed, of those that
// delivered most of their events; no speed when there is none.
func fullSpeed(all []replay.Record) (id string, perSecond float64) {
	for _, r := range all {
		took := r.Since.Sub(r.At).Seconds()
		if r.State != replay.Done || r.Rate != 0 || took <= 0 || r.Events < tellingFrom || r.Counts.Delivered < r.Events/2 {
			continue
		}
		if speed := float64(r.Events-min(r.Gone, r.Events)) / took; speed > perSecond {
			id, perSecond = r.ID, speed
		}
	}
	return id, perSecond
}
