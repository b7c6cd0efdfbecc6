package main

import (
	"slices"
	"time"
)

// outage is how long no event has been acknowledged when NATS counts as away. Nothing
// is asked of anybody then.
const outage = time.Second

// leastRate is how many events a second are published at least, while NATS is there.
const leastRate = 300

// moment is when an event was acknowledged, or delivered for the first time.
type moment struct {
	at        time.Time
	delivered bool
	owed      bool // it was acknowledged, and its endpoint is healthy
}

// moments are those of some time, in order.
func moments(all []event, in stretch) (ms []moment) {
	for _, e := range all {
		healthy := kindOf(e.survey) == steady
		if e.seq != 0 && in.holds(e.acked) {
			before := !e.first.IsZero() && !e.first.After(e.acked) // the publisher heard of it later than the receiver
			ms = append(ms, moment{at: e.acked, owed: healthy && !before})
		}
		if healthy && in.holds(e.first) {
			ms = append(ms, moment{at: e.first, delivered: true})
		}
	}
	slices.SortFunc(ms, func(a, b moment) int { return a.at.Compare(b.at) })
	return ms
}

// worstGap is the longest time in which nothing of healthy endpoints was delivered for
// the first time, although NATS acknowledged events all the while, one of theirs among
// them since the last that was delivered. It does not ask for a single event, which may
// be in the hands of a replica that is dead or stopped until AckWait: others may always
// be delivered.
func worstGap(all []event, in stretch) (worst time.Duration) {
	var owed, acked time.Time // since when there is one; when the last one was acknowledged
	silent := func(until time.Time) {
		if until.Sub(acked) > outage {
			until = acked // NATS has been away since
		}
		if !owed.IsZero() {
			worst = max(worst, until.Sub(owed))
		}
	}
	for _, m := range moments(all, in) {
		if m.delivered {
			silent(m.at)
			owed = time.Time{}
			continue
		}
		if m.at.Sub(acked) > outage && !owed.IsZero() {
			silent(m.at)
			owed = m.at // NATS is there again, and the time runs from here
		}
		if m.owed && owed.IsZero() {
			owed = m.at
		}
		acked = m.at
	}
	silent(in.to)
	return worst
}

// outages are the times in which NATS was away.
func outages(all []event, in stretch) (gone []stretch) {
	last := in.from
	note := func(at time.Time) {
		if at.Sub(last) > outage {
			gone = append(gone, stretch{last, at})
		}
		last = at
	}
	for _, m := range moments(all, in) {
		if !m.delivered {
			note(m.at)
		}
	}
	note(in.to)
	return gone
}

// rate is how many events a second were published and, sooner or later, acknowledged,
// outages left out: neither their time counts nor what was published in it. What the
// publisher had to skip is missing in it.
func rate(all []event, in stretch) float64 {
	gone := outages(all, in)
	there := in.length()
	for _, s := range gone {
		there -= s.length()
	}
	n := 0
	for _, e := range all {
		if e.seq != 0 && in.holds(e.made) && !slices.ContainsFunc(gone, func(s stretch) bool { return s.holds(e.made) }) {
			n++
		}
	}
	if there <= 0 {
		return 0
	}
	return float64(n) / there.Seconds()
}
