package main

import (
	"fmt"
	"slices"
)

// verdict is what became of the events that were acknowledged until some moment.
type verdict struct {
	Acked     int
	Delivered int
	Waiting   int // in a lane
	Owed      int // promised, and still in the event stream
	Dead      int
	NoWebhook int
	Live      int   // above the live consumer's floor: with a replica, or to come
	Taken     int   // destroyed by the fault itself
	Lost      []int // none of these
	Buried    []int // dead letters that should not be, wherever else the event is
}

// judge finds a place for every event.
func judge(known map[int]event, w whereabouts, taken []span) verdict {
	v := verdict{Acked: len(known)}
	for i, e := range known {
		owed := w.owed[surveyID(e.survey)]
		reason, dead := w.dead[i]
		if dead && !mayBeDead(e, reason, taken) {
			v.Buried = append(v.Buried, i)
		}
		switch {
		case e.accepted > 0:
			v.Delivered++
		case kindOf(e.survey) == stranger && e.seq <= w.floor:
			v.NoWebhook++
		case w.lane[i]:
			v.Waiting++
		case dead:
			v.Dead++
		case owed.Owes(e.seq, e.acked) && e.seq >= w.first:
			v.Owed++
		case e.seq > w.floor && e.seq >= w.first:
			v.Live++
		case slices.ContainsFunc(taken, func(s span) bool { return s.holds(e) }):
			v.Taken++
		default:
			v.Lost = append(v.Lost, i)
		}
	}
	slices.Sort(v.Lost)
	slices.Sort(v.Buried)
	return v
}

// disabled is the reason of dead letters of an endpoint that was disabled.
const disabled = "disabled"

// mayBeDead says whether an event may have been given up on, for the reason given: its
// endpoint has answered 410, and a purge took the event from the event stream, so that
// only the lane had it, which a disabled endpoint loses. Whatever else waits is younger
// than what is given up on for its age.
func mayBeDead(e event, reason string, taken []span) bool {
	return kindOf(e.survey) == leaving && reason == disabled && slices.ContainsFunc(taken, func(s span) bool { return s.holds(e) })
}

// String is one line for people.
func (v verdict) String() string {
	return fmt.Sprintf("%d acknowledged: %d delivered, %d wait, %d owed, %d dead, %d without a webhook, %d live, %d taken by design, %d LOST, %d BURIED",
		v.Acked, v.Delivered, v.Waiting, v.Owed, v.Dead, v.NoWebhook, v.Live, v.Taken, len(v.Lost), len(v.Buried))
}
