package lanes

import (
	"math"
	"slices"
	"time"

	"github.com/popsee/webhooks/events"
)

// FirstWait is the wait before the first probe of an endpoint that fails as a
// whole; it doubles with each failure.
const FirstWait = 5 * time.Second

// longest is the longest wait between probes.
const longest = 5 * time.Minute

// probesInTurn is how often one event is probed with before another has a go.
const probesInTurn = 2

// status is what an entry is doing.
type status uint8

const (
	idle status = iota
	flying
	gone
)

// entry is one waiting event: a few words, because there may be a million.
type entry struct {
	src, seq uint64 // in the event stream; in the lanes stream
	due      int64  // Unix ms; not before. Probing does not ask
	size     uint32
	tries    uint16 // in this lane, since its owner came
	status   status
}

// lane is the index of one survey's waiting events, and decides which is tried
// when. It is pure: its owner's loop is the only one to touch it.
type lane struct {
	survey  events.Survey
	entries []entry // by src; those gone are swept out now and then
	live    int     // not gone
	flying  int
	bytes   int64
	scan    int   // entries before it cannot be started, until nextDue
	nextDue int64 // the earliest due time before scan; 0 when there is none

	probing   bool
	wait      time.Duration // before the next probe
	probeAt   time.Time
	probes    int       // failures since the last 2xx
	outdated  bool      // what flies was started for an endpoint that has changed since: its failure says nothing
	held      time.Time // nothing is started before
	recovered time.Time // when the endpoint last began to work again; zero: not since this owner came
}

// add takes an entry in. It returns false, and changes nothing, when the event
// is there already under another sequence: then e's copy is redundant.
func (l *lane) add(e entry) bool {
	i, there := l.find(e.src)
	switch {
	case there && l.entries[i].seq == e.seq:
		return true // read again by a feed that began anew
	case there && l.entries[i].status != gone:
		return false
	case there:
		l.entries[i] = e
	default:
		l.entries = slices.Insert(l.entries, i, e)
	}
	l.live++
	l.bytes += int64(e.size)
	l.scan = min(l.scan, i)
	return true
}

func (l *lane) find(src uint64) (int, bool) {
	if n := len(l.entries); n == 0 || l.entries[n-1].src < src {
		return n, false // events are parked nearly in order
	}
	return slices.BinarySearchFunc(l.entries, src, func(e entry, src uint64) int {
		switch {
		case e.src < src:
			return -1
		case e.src > src:
			return 1
		default:
			return 0
		}
	})
}

// next chooses the entry to start now, and marks it.
func (l *lane) next(now time.Time) (entry, bool) {
	if now.Before(l.held) {
		return entry{}, false
	}
	i, ok := l.draining(now)
	if l.probing {
		i, ok = l.probe(now)
	}
	if !ok {
		return entry{}, false
	}
	l.entries[i].status = flying
	l.entries[i].tries = min(l.entries[i].tries, math.MaxUint16-1) + 1
	l.flying++
	return l.entries[i], true
}

func (l *lane) draining(now time.Time) (int, bool) {
	ms := now.UnixMilli()
	if l.nextDue != 0 && l.nextDue <= ms {
		l.scan, l.nextDue = 0, 0
	}
	for ; l.scan < len(l.entries); l.scan++ {
		e := &l.entries[l.scan]
		if e.status != idle {
			continue
		}
		if e.due <= ms {
			return l.scan, true
		}
		if l.nextDue == 0 || e.due < l.nextDue {
			l.nextDue = e.due
		}
	}
	return 0, false
}

// probe picks the oldest event, and after two failures the next one in turn.
func (l *lane) probe(now time.Time) (int, bool) {
	if l.flying > 0 || l.live == 0 || now.Before(l.probeAt) {
		return 0, false
	}
	turn := l.probes / probesInTurn % l.live
	for i := range l.entries {
		if l.entries[i].status == idle {
			if turn == 0 {
				return i, true
			}
			turn--
		}
	}
	return 0, false
}

// wake is when something may be startable that is not now; zero means not by
// time alone.
func (l *lane) wake() time.Time {
	switch {
	case l.live == 0:
		return time.Time{}
	case !l.held.IsZero():
		return l.held
	case l.probing:
		return l.probeAt
	case l.nextDue != 0:
		return time.UnixMilli(l.nextDue)
	default:
		return time.Time{}
	}
}

// hold keeps everything from being started for a while: nothing was sent, and
// the others would fare no better.
func (l *lane) hold(until time.Time) {
	if until.After(l.held) {
		l.held = until
	}
}

// release ends a hold whose time has come.
func (l *lane) release(now time.Time) {
	if !l.held.IsZero() && !now.Before(l.held) {
		l.held = time.Time{}
	}
}

// failsSince takes over what another replica has found out: the endpoint fails
// as a whole and is to be tried next at probeAt.
func (l *lane) failsSince(probeAt time.Time) {
	if !l.probing {
		l.probing, l.wait, l.probes, l.probeAt = true, FirstWait, 0, probeAt
	}
}

// landed takes back an entry that was flying. With remove it has left the lane;
// otherwise it is due again at due.
func (l *lane) landed(src uint64, remove bool, due time.Time) {
	i, there := l.find(src)
	if !there || l.entries[i].status != flying {
		return
	}
	l.flying--
	e := &l.entries[i]
	if remove {
		e.status = gone
		l.live--
		l.bytes -= int64(e.size)
		l.sweep()
		return
	}
	e.status, e.due = idle, dueMilli(due)
	l.scan = min(l.scan, i)
}

// dueMilli rounds up: an event tried a fraction of a millisecond early would find
// the same offset of its schedule still ahead, and be tried for it again.
func dueMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// sweep drops what is gone, when that is most of what there is.
func (l *lane) sweep() {
	if len(l.entries) < 64 || l.live*2 > len(l.entries) {
		return
	}
	l.entries = slices.DeleteFunc(l.entries, func(e entry) bool { return e.status == gone })
	l.scan, l.nextDue = 0, 0
}

// fails notes that the endpoint failed as a whole, and returns when it is tried
// next. jitter is from 0 to 1; hold is what the endpoint asked for.
func (l *lane) fails(now time.Time, hold time.Duration, jitter float64) time.Time {
	if !l.probing {
		l.probing, l.wait, l.probes = true, FirstWait, 0
	} else {
		l.probes++
		l.wait = min(l.wait*2, longest)
	}
	// Half of the wait is certain, half is spread, so that endpoints that failed
	// together are not probed together.
	spread := time.Duration(float64(l.wait) * (0.5 + jitter/2))
	l.probeAt = now.Add(max(spread, hold))
	return l.probeAt
}

// works notes a 2xx; it returns true when the endpoint had been failing, and
// then everything is due at once.
func (l *lane) works(now time.Time) bool {
	l.probes = 0
	if !l.probing {
		return false
	}
	l.probing, l.recovered = false, now
	l.allDue()
	return true
}

// allDue lets everything be tried now.
func (l *lane) allDue() {
	for i := range l.entries {
		l.entries[i].due = 0
	}
	l.scan, l.nextDue = 0, 0
	l.probeAt, l.held = time.Time{}, time.Time{}
}
