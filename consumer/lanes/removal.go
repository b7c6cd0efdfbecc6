package lanes

import (
	"cmp"
	"slices"
	"time"
)

// When copies that are done with are removed. A removal of many costs the server
// as much as one of few, and until then a crash sends them again. Where many lanes
// drain at once each of them is slow: 64 of them came to three events in 20 ms, and
// removing those took a fifth of the server's time.
const (
	removeMany  = 16                     // so many are removed at once
	removeAfter = 100 * time.Millisecond // and fewer after so long
	gapsAfter   = time.Second            // those behind a copy that stays are removed one by one after so long
	gapsAtOnce  = 64
)

// removal is what to remove of a lane's subject: everything up to some copies, below
// which none stays, and single ones. Both are in the order of their sequences.
type removal struct {
	upTo, singles []entry
}

func (r removal) empty() bool { return len(r.upTo) == 0 && len(r.singles) == 0 }

// redundant notes a copy that is to be removed.
func (l *lane) redundant(e entry, now time.Time) {
	switch {
	case len(l.done) == l.stuck:
		l.doneAt, l.removeAt = now, earlier(l.removeAt, now.Add(removeAfter))
	case len(l.done)-l.stuck == removeMany-1:
		l.removeAt = now
	}
	l.done = append(l.done, e)
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

func bySequence(a, b entry) int { return cmp.Compare(a.seq, b.seq) }

// removable is when copies that are done with are to be removed; zero: there are
// none.
func (l *lane) removable() time.Time {
	if len(l.done) == 0 || l.removing {
		return time.Time{}
	}
	return l.removeAt
}

// remove plans a removal of what is done with. Everything below the first copy
// that stays goes at once; what stands between copies that stay is left until it
// has waited for a while, because those before it mostly go first.
func (l *lane) remove(now time.Time, all bool) removal {
	if len(l.done) == 0 || l.removing || !all && now.Before(l.removeAt) {
		return removal{}
	}
	slices.SortFunc(l.done, bySequence)
	n, _ := slices.BinarySearchFunc(l.done, entry{seq: l.firstStaying()}, bySequence)
	r := removal{upTo: slices.Clone(l.done[:n])}
	if gaps := l.done[n:]; all || now.Sub(l.doneAt) >= gapsAfter || len(gaps) >= gapsAtOnce {
		r.singles = slices.Clone(gaps[:min(len(gaps), gapsAtOnce)])
	}
	if r.empty() {
		l.stuck, l.removeAt = len(l.done), l.doneAt.Add(gapsAfter)
		return removal{}
	}
	l.removing = true
	return r
}

// firstStaying is the lowest sequence of a copy that must stay.
func (l *lane) firstStaying() uint64 {
	first := l.foreign
	if first == 0 {
		first = ^uint64(0)
	}
	for i := range l.entries {
		if e := &l.entries[i]; !e.status.over() && e.seq < first {
			first = e.seq
		}
	}
	return first
}

// removed takes a removal's end; one that failed is planned again.
func (l *lane) removed(r removal, ok bool, now time.Time) {
	l.removing = false
	if !ok {
		l.stuck, l.removeAt = 0, now.Add(gapsAfter)
		return
	}
	var below uint64
	if n := len(r.upTo); n > 0 {
		below = r.upTo[n-1].seq + 1
	}
	l.done = slices.DeleteFunc(l.done, func(e entry) bool {
		_, single := slices.BinarySearchFunc(r.singles, e, bySequence)
		return e.seq < below || single
	})
	l.stuck, l.doneAt, l.removeAt = 0, now, time.Time{}
	if n := len(l.done); n >= removeMany {
		l.removeAt = now
	} else if n > 0 {
		l.removeAt = now.Add(removeAfter)
	}
	l.sweep()
}
