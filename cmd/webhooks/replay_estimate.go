package main

import (
	"context"
	"fmt"
	"time"

	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/replay"
)

// estimate is how long a replay would take.
type estimate struct {
	Read    uint64  `json:"read"`                 // events that it would read: its rate counts those it passes over too
	Rate    float64 `json:"rate"`                 // events a second; 0: as fast as it goes
	Seconds float64 `json:"seconds"`              // that it would take at least; 0: not known
	Like    string  `json:"seconds_as,omitempty"` // at full speed: the earlier replay that was as fast
}

// estimate works it out. How fast full speed is only an earlier replay can tell.
func (s *session) estimate(w *world, r replay.Record) (e estimate, err error) {
	e.Rate = r.Rate
	e.Read, err = asked(w.ctx, func(ctx context.Context) (uint64, error) {
		return replay.Count(ctx, s.js, s.names, r.Surveys, r.Start, r.End)
	})
	if err != nil {
		return e, err
	}
	if r.Rate > 0 {
		e.Seconds = float64(e.Read) / r.Rate
		return e, nil
	}
	all, err := asked(w.ctx, func(ctx context.Context) ([]replay.Record, error) { return replay.List(ctx, s.js, s.names) })
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

// soonAnswer is how soon an endpoint is taken to answer, where that has to be said
// with an example.
const soonAnswer = 100 * time.Millisecond

// timeLines say how long it takes, and what bounds it.
func (e estimate) timeLines(surveys []surveyRehearsal) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	longest := spoken(seconds(e.Seconds))
	switch {
	case e.Rate > 0:
		say("at %g events a second that takes %s, longer while the live consumer is behind", e.Rate, longest)
	case e.Like != "":
		say("at full speed that takes %s if it goes as replay %s did, the fastest so far; longer while the live consumer is behind", longest, e.Like)
	default:
		say("how long that takes at full speed is not known before one has run: the endpoints bound it, each with %d requests at once from a replica, and live events, which go first", admit.MaxBudget)
		if big := most(surveys); big.Events > admit.MaxBudget {
			say("survey %s, which has the most to send, takes %s where one replica runs and its endpoint answers within %s",
				big.Survey, spoken(time.Duration(big.Events)*soonAnswer/admit.MaxBudget), soonAnswer) //nolint:gosec // far from what a duration holds
		}
	}
	if slow, takes := slowestOf(surveys); takes > e.Seconds {
		say("the last of survey %s reach it after %s: its owner allows %g a second; what is over that waits in its lane", slow.Survey, spoken(seconds(takes)), slow.Limit)
	}
	return lines
}

// most is the survey with the most to send.
func most(surveys []surveyRehearsal) (big surveyRehearsal) {
	for _, s := range surveys {
		if s.Outcome == replay.Delivered && s.Events > big.Events {
			big = s
		}
	}
	return big
}

// slowestOf is the survey that its owner's limit holds up the longest, and for how
// many seconds.
func slowestOf(surveys []surveyRehearsal) (slow surveyRehearsal, takes float64) {
	for _, s := range surveys {
		if s.Outcome == replay.Delivered && s.Limit > 0 && float64(s.Events)/s.Limit > takes {
			slow, takes = s, float64(s.Events)/s.Limit
		}
	}
	return slow, takes
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
