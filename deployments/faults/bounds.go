package main

import "time"

// How far behind a 2xx its acknowledgement may be, everything on the way included:
// whoever is killed takes those of so long with it. Nodes keep one only when two of
// them have synced it, each to the disk that everything here shares.
const (
	behind      = 300 * time.Millisecond
	behindNodes = time.Second
)

// bound is how many duplicates there may be.
type bound struct {
	all  int
	late int // of them, those of what may have come of a lane: a lane may give them again later
}

func (b *bound) add(more bound) {
	b.all += more.all
	b.late += more.late
}

// exposed is how many events a fault at this moment may have delivered twice: the
// requests without an answer, and those answered a moment ago, whose
// acknowledgement may still be on its way.
func (l *ledger) exposed(behind time.Duration) bound {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.answeredIn(stretch{now.Add(-behind), now})
	b.add(bound{l.running, l.running})
	return b
}

// answered counts the 2xx given in some stretches of time.
func (l *ledger) answered(in []stretch) (b bound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range merged(in) {
		b.add(l.answeredIn(s))
	}
	return b
}

// answeredIn counts those of one; mu is held.
func (l *ledger) answeredIn(s stretch) (b bound) {
	for i := len(l.answers) - 1; i >= 0 && !l.answers[i].at.Before(s.from); i-- {
		if !s.holds(l.answers[i].at) {
			continue
		}
		b.all++
		if l.answers[i].late {
			b.late++
		}
	}
	return b
}

// leftovers are duplicates that the fault before the last one, and the last one, may
// still make when the next one comes. What a check has found settled comes again from
// lanes alone: a lane that has delivered it and could not remove it gives it to its
// next owner, and if its endpoint fails just then, with the next fault but one.
type leftovers [2]int

func (l leftovers) sum() int { return l[0] + l[1] }

// after are those when a fault has made some duplicates, and might have made others.
// What was there first is used up first, and lapses first.
func (l leftovers) after(again int, made bound) leftovers {
	again = max(again-l[0], 0)
	kept := max(l[1]-again, 0)
	again = max(again-l[1], 0)
	return leftovers{kept, min(max(made.all-again, 0), made.late)}
}
