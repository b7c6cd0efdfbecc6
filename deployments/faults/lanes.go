package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// deliverable are the events that wait in lanes although their endpoints work.
func deliverable(known map[int]event, w whereabouts, works func(survey int) bool) (waiting []int) {
	for i, e := range known {
		if kindOf(e.survey) == flapping && works(e.survey) && e.accepted == 0 && w.lane[i] {
			waiting = append(waiting, i)
		}
	}
	slices.Sort(waiting)
	return waiting
}

// overdue are those that have been so for more than a minute: since their endpoints
// work, and since the next probe where the service does not know it yet. The wait for a
// probe grows with the time an endpoint has failed, which is no fault of its lane.
func overdue(known map[int]event, w whereabouts, works func(survey int) bool, since, now time.Time) []int {
	return slices.DeleteFunc(deliverable(known, w, works), func(i int) bool {
		e := known[i]
		from := latest(e.acked, since)
		if r := w.owed[surveyID(e.survey)]; r.Failing() {
			from = latest(from, r.NextProbe)
		}
		return now.Sub(from) <= stuckAfter
	})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lanesDrained says whether everything has been delivered that waited in lanes for the
// endpoints that have begun to work at a moment.
func (d *deployment) lanesDrained(ctx context.Context, since time.Time) error {
	w, err := d.whereabouts(ctx)
	if err != nil {
		return err
	}
	waiting := deliverable(d.ledger.known(since), w, d.receiver.works)
	return unless(len(waiting) == 0, fmt.Sprintf("%d events wait in lanes of endpoints that work", len(waiting)))
}

// removedWithin is how long an event that was delivered may stand in its lane at most. What
// a replica leaves there as it ends is sent again by the shard's next owner, who spreads
// what the one before has missed over ten seconds.
const removedWithin = 15 * time.Second

// removed waits until no event stands in a lane any more that did so at the last look
// although it had been delivered: until then it may come again, and nobody has counted it.
// Those that lanes deliver meanwhile stand there for a moment, and are not waited for.
func (d *deployment) removed(ctx context.Context, c *check) {
	left := c.standing
	err := poll(ctx, removedWithin, func() error {
		if len(left) == 0 {
			return nil
		}
		looked := time.Now()
		w, err := d.whereabouts(ctx)
		if err != nil {
			return err
		}
		c.looked, c.standing = looked, standing(d.ledger.all(), w)
		left = slices.DeleteFunc(left, func(i int) bool { return !w.lane[i] })
		return unless(len(left) == 0, fmt.Sprintf("%d events stand in lanes although they were delivered before: %v", len(left), d.describe(left)))
	})
	if err != nil {
		c.complain("after %s %v", removedWithin, err)
	}
}
