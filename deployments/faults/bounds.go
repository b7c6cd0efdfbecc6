package main

import (
	"slices"
	"time"
)

// How far behind a 2xx its acknowledgement may be, everything on the way included:
// whoever is killed takes those of so long with it. Nodes keep one only when two of
// them have synced it, each to the disk that everything here shares.
const (
	behind      = 300 * time.Millisecond
	behindNodes = time.Second
)

// exposed is how many events a fault at this moment may have delivered twice: the
// requests without an answer, and those answered a moment ago, whose
// acknowledgement may still be on its way.
func (l *ledger) exposed(behind time.Duration) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	all, _ := l.answeredIn(stretch{now.Add(-behind), now})
	return all + l.running
}

// answered counts the 2xx given in some stretches of time, and those of them that were
// late.
func (l *ledger) answered(in []stretch) (all, late int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range merged(in) {
		n, m := l.answeredIn(s)
		all, late = all+n, late+m
	}
	return all, late
}

// answeredIn counts those of one; mu is held.
func (l *ledger) answeredIn(s stretch) (all, late int) {
	for i := len(l.answers) - 1; i >= 0 && !l.answers[i].at.Before(s.from); i-- {
		if !s.holds(l.answers[i].at) {
			continue
		}
		all++
		if l.answers[i].late {
			late++
		}
	}
	return all, late
}

// bound is how many duplicates there may be of those that can be explained, when some
// events stood in lanes before although they had been delivered. A few kills may cost as
// much as a whole storm, for only over many of them an average says something.
func (f fault) bound(explained, stood int) int {
	if f.each == 0 {
		return explained
	}
	return min(explained, f.each*max(f.times, storm)+stood)
}

// standing are the events that stand in lanes although they have been delivered. A lane
// that could not remove them gives them to its next owner, or when its endpoint works
// again, however many faults later. Once a check has found everything settled, nothing
// else comes again.
func standing(all []event, w whereabouts) (there []int) {
	for i, in := range w.lane {
		if in && all[i].accepted > 0 {
			there = append(there, i)
		}
	}
	slices.Sort(there)
	return there
}
