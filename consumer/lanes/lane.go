package lanes

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/popsee/webhooks/consumer/health"
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
	gone // done with; its copy may still be stored, see [lane.removal]
	left // gone without having been delivered: it became a dead letter, which may be redriven, or its copy was erased
)

// over says that the lane is done with an entry of this status.
func (s status) over() bool { return s == gone || s == left }

// entry is one waiting event: a few words, because there may be a million.
//
// It is known by its source and its publication together. An event stream that was
// removed and made again counts anew: then a source alone would be two events'.
type entry struct {
	src, seq uint64 // in the event stream; in the lanes stream
	due      uint32 // in Unix seconds, rounded up: not before. Probing does not ask
	pub      uint32 // when it was published, in Unix seconds
	size     uint32
	tries    uint16 // in this lane, since its owner came
	status   status
	part     uint8 // of the second it was published in, see [moment]
}

// moment is a time in 256ths of a second, rounded down. Between two publications of one
// source a stream is removed and made, which takes longer.
type moment int64

func momentOf(t time.Time) moment {
	return moment(t.Unix()<<8 | int64(t.Nanosecond())<<8/int64(time.Second))
}

func (m moment) second() uint32 { return uint32(m >> 8) } //nolint:gosec // good until 2106
func (m moment) part() uint8    { return uint8(m & 255) } //nolint:gosec // what is left of it

// is says whether an entry is this event's.
func (e entry) is(w Waiting) bool {
	m := momentOf(w.Published)
	return e.src == w.Source && e.pub == m.second() && e.part == m.part()
}

func (e entry) published() moment { return moment(e.pub)<<8 | moment(e.part) }

// order is how entries stand in a lane: by source; of two events of one source the
// older one is first.
func order(a, b entry) int {
	return cmp.Or(cmp.Compare(a.src, b.src), cmp.Compare(a.published(), b.published()))
}

// lane is the index of one survey's waiting events, and decides which is tried
// when. It is pure: its owner's loop is the only one to touch it.
type lane struct {
	survey  events.Survey
	entries []entry // in order; those gone are swept out now and then
	live    int     // not gone
	flying  int
	bytes   int64
	scan    int    // entries before it cannot be started, until nextDue
	nextDue uint32 // the earliest due time before scan; 0 when there is none

	seen     uint64    // the highest source there ever was
	seenAt   moment    // when that was published
	done     []entry   // what is done with and still stored
	doneAt   time.Time // when the last removal ended, or the first of them came since
	removeAt time.Time // when they are to be removed
	stuck    int       // of them stand between copies that stay
	removing bool      // some of them are being removed
	foreign  uint64    // the lowest sequence here that this version cannot read; 0: none. It is left alone

	owed       []health.Promise // the promises of the endpoint's health record
	history    uint64           // the first sequence of the event stream, as last seen
	born       moment           // when its sequences began to count, likewise
	disabled   bool             // nothing is tried until the endpoint changes
	bringing   bool             // owed events are being brought, or their copies have not all been fed yet
	awaits     uint64           // the last of those copies; 0 while they are being stored
	awaitsTo   time.Time        // no longer than until then: it may have been erased
	fedTo      uint64           // the last copy that was fed
	bringAt    time.Time        // not before
	lookAt     time.Time        // it is looked at then whether what is owed is about to leave the event stream
	salvageAt  time.Time        // and, before the event stream is full, not more often than that how old it is
	promisedTo time.Time        // the promise of owed events is renewed then

	arriving bool // what there was when its owner came is still being fed
	anew     bool // and is due at once when it comes

	probing   bool
	wait      time.Duration // before the next probe
	probeAt   time.Time
	probes    int       // failures since the last 2xx
	changes   int       // of its endpoint; what was started before the last one says nothing of how it is now
	held      time.Time // nothing is started before
	recovered time.Time // when the endpoint last began to work again; zero: not since this owner came

	sentAt time.Time // when something was sent last, as far as its owner knows; or when the lane came to be
	tended time.Time // when its owner last did what was to be done
}

// add takes an entry in. It returns false, and changes nothing, when the event
// is there already under another sequence: then e's copy is redundant. While the
// lane is still arriving, one that was delivered was so from a copy of the same time.
func (l *lane) add(e entry) bool {
	i, there := l.find(e)
	switch {
	case there && l.entries[i].seq == e.seq:
		return true // read again by a feed that began anew
	case there && !l.entries[i].status.over(), there && l.entries[i].status == gone && l.arriving:
		return false
	case there:
		l.entries[i] = e
	default:
		l.grow()
		l.entries = slices.Insert(l.entries, i, e)
	}
	if l.arriving && l.anew {
		l.entries[i].due = 0
	}
	l.live++
	l.see(e)
	l.bytes += int64(e.size)
	l.scan = min(l.scan, i)
	return true
}

// double takes the newer of two copies of an event for the one that waits, and returns the
// other one, which is redundant. The newer one was stored just now; an older one may have
// been erased by hand, and nobody would know before it is tried.
func (l *lane) double(e entry) (other entry) {
	i, there := l.find(e)
	if !there || l.entries[i].status.over() || e.seq < l.entries[i].seq {
		return e
	}
	kept := &l.entries[i]
	other = *kept
	l.bytes += int64(e.size) - int64(kept.size)
	kept.seq, kept.size = e.seq, e.size
	if e.due < kept.due {
		kept.due, l.scan = e.due, min(l.scan, i)
	}
	return other
}

// replaced says that another copy of an event has come since it was started from this one.
func (l *lane) replaced(started entry) bool {
	i, there := l.find(started)
	return there && l.entries[i].seq != started.seq
}

func (l *lane) see(e entry) {
	switch p := e.published(); {
	case e.src > l.seen:
		l.seen, l.seenAt = e.src, p
	case e.src == l.seen:
		l.seenAt = max(l.seenAt, p)
	}
}

// highest is the highest source of this event stream that was seen. That of one which
// was removed says nothing of it.
func (l *lane) highest() uint64 {
	if l.seenAt < l.born {
		l.seen, l.seenAt = 0, 0
		for i := range l.entries {
			if e := &l.entries[i]; !l.older(e) {
				l.see(*e)
			}
		}
	}
	return l.seen
}

// grow makes room for one more, a sixteenth at a time: doubling would waste a third
// of the memory of a million.
func (l *lane) grow() {
	if n := len(l.entries); n == cap(l.entries) {
		l.entries = append(make([]entry, 0, n+n/16+4), l.entries...)
	}
}

// find finds the entry of the same event, or where it would stand.
func (l *lane) find(e entry) (int, bool) {
	if n := len(l.entries); n == 0 || order(l.entries[n-1], e) < 0 {
		return n, false // events are parked nearly in order
	}
	return slices.BinarySearchFunc(l.entries, e, order)
}

// next chooses the entry to start now, and marks it.
func (l *lane) next(now time.Time) (entry, bool) {
	i, ok := l.choose(now)
	if !ok {
		return entry{}, false
	}
	l.entries[i].tries = min(l.entries[i].tries, math.MaxUint16-1) + 1
	l.fly(&l.entries[i])
	return l.entries[i], true
}

// choose is the entry to start now.
func (l *lane) choose(now time.Time) (i int, ok bool) {
	switch {
	case l.disabled, now.Before(l.held):
		return 0, false
	case l.probing:
		return l.probe(now)
	default:
		return l.draining(now)
	}
}

func (l *lane) draining(now time.Time) (int, bool) {
	t := uint32(now.Unix()) //nolint:gosec // good until 2106
	if l.nextDue != 0 && l.nextDue <= t {
		l.scan, l.nextDue = 0, 0
	}
	for ; l.scan < len(l.entries); l.scan++ {
		e := &l.entries[l.scan]
		if e.status != idle || l.promised(e) {
			continue
		}
		if e.due <= t {
			return l.scan, true
		}
		if l.nextDue == 0 || e.due < l.nextDue {
			l.nextDue = e.due
		}
	}
	return 0, false
}

// busy says whether a lane has enough to do without what is owed. Events that were
// parked before their replica heard of the promise are nothing to do: they wait for
// what is brought. Nor are those that wait for their own times.
func (l *lane) busy(enough int) bool {
	return l.live >= enough && (l.probing || l.scan < len(l.entries))
}

// probe picks the oldest event, and after two failures the next one in turn.
func (l *lane) probe(now time.Time) (int, bool) {
	if l.flying > 0 || l.live == 0 || now.Before(l.probeAt) {
		return 0, false
	}
	able := 0
	for i := range l.entries {
		if e := &l.entries[i]; e.status == idle && !l.promised(e) {
			able++
		}
	}
	if able == 0 {
		return 0, false
	}
	turn := l.probes / probesInTurn % able
	for i := range l.entries {
		if e := &l.entries[i]; e.status == idle && !l.promised(e) {
			if turn == 0 {
				return i, true
			}
			turn--
		}
	}
	return 0, false
}

// promised says whether an event is brought again from the event stream, and so
// must not be tried from the copy that is here. One whose event stream was removed
// cannot be, whatever stands at its sequence now.
func (l *lane) promised(e *entry) bool {
	if l.older(e) {
		return false
	}
	for _, p := range l.owed {
		if e.src >= p.From && e.src >= l.history && e.published() < momentOf(p.Until) {
			return true
		}
	}
	return false
}

// older says that an event was published in an event stream that was removed.
func (l *lane) older(e *entry) bool { return e.published() < l.born }

// heed takes over the promises as they stand now. While something is brought the
// old ones hold: an event that was parked besides would else be delivered from that
// copy, and once more when the other one is fed.
func (l *lane) heed(promises []health.Promise) {
	if l.bringing || slices.Equal(promises, l.owed) {
		return
	}
	l.owed = promises
	l.scan, l.nextDue = 0, 0
}

// wake is when something is to be done that is not now; zero means not by time
// alone. What was to be done when the lane was last tended, and was not, waits for
// something that tends it again when it comes: the end of a try, room, a promise.
func (l *lane) wake() time.Time {
	var first time.Time
	for _, t := range []time.Time{l.startable(), l.removable(), l.awaiting(), l.bringAt, l.promisedTo, l.lookAt} {
		if t.After(l.tended) {
			first = earlier(first, t)
		}
	}
	return first
}

// startable is when an event may be startable that is not now.
func (l *lane) startable() time.Time {
	switch {
	case l.live == 0, l.disabled:
		return time.Time{}
	case !l.held.IsZero():
		return l.held
	case l.probing && l.flying > 0:
		return time.Time{}
	case l.probing:
		return l.probeAt
	case l.nextDue != 0:
		return time.Unix(int64(l.nextDue), 0)
	default:
		return time.Time{}
	}
}

// awaiting is until when copies that were brought are waited for; zero: none are.
func (l *lane) awaiting() time.Time {
	if !l.bringing || l.awaits == 0 {
		return time.Time{}
	}
	return l.awaitsTo
}

// hold keeps everything from being started for a while: nothing was sent, and
// the others would fare no better.
func (l *lane) hold(until time.Time) {
	if until.After(l.held) {
		l.held = until
	}
}

// release ends a hold whose time has come, and the waiting for copies that do not come.
func (l *lane) release(now time.Time) {
	if until := l.awaiting(); !until.IsZero() && !now.Before(until) {
		l.bringing, l.awaits = false, 0
	}
	if !l.held.IsZero() && !now.Before(l.held) {
		l.held = time.Time{}
	}
}

// failsSince takes over what another replica has found out: the endpoint fails
// as a whole and is to be tried next at probeAt, after so long a wait.
func (l *lane) failsSince(probeAt time.Time, wait time.Duration) {
	if !l.probing {
		l.probing, l.wait, l.probes, l.probeAt = true, min(max(wait, FirstWait), longest), 0, probeAt
	}
}

// landed takes back an entry that was flying. With remove the lane is done with
// it; otherwise it is due again at due.
func (l *lane) landed(flown entry, remove bool, due, now time.Time) {
	i, there := l.find(flown)
	if !there || l.entries[i].status != flying {
		return
	}
	l.flying--
	e := &l.entries[i]
	if remove {
		l.finish(e, now)
		l.sweep()
		return
	}
	e.status, e.due = idle, seconds(due)
	l.scan = min(l.scan, i)
}

// finish is done with an entry: its copy is to be removed.
func (l *lane) finish(e *entry, now time.Time) {
	e.status = gone
	l.live--
	l.bytes -= int64(e.size)
	l.redundant(*e, now)
}

// leave notes that an entry which is gone was not delivered: its event may come again.
func (l *lane) leave(e entry) {
	if i, there := l.find(e); there && l.entries[i].status == gone {
		l.entries[i].status = left
	}
}

// seconds rounds up: an event tried a moment early would find the same offset of
// its schedule still ahead, and be tried for it again.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(t.Add(time.Second - 1).Unix()) //nolint:gosec // good until 2106
}

// evict is done with every event that is promised to be brought again. It returns
// how many there were.
func (l *lane) evict(now time.Time) int {
	if len(l.owed) == 0 {
		return 0
	}
	n := 0
	for i, _ := l.find(entry{src: l.owed[0].From}); i < len(l.entries); i++ {
		if e := &l.entries[i]; e.status == idle && l.promised(e) {
			l.finish(e, now)
			n++
		}
	}
	l.sweep()
	return n
}

// alone lists the events which the event stream does not have any more, and that are
// not being tried.
func (l *lane) alone() []entry {
	var found []entry
	for i := range l.entries {
		if e := &l.entries[i]; e.status == idle && (e.src < l.history || l.older(e)) {
			found = append(found, *e)
		}
	}
	return found
}

// unsent notes that nothing was sent for an entry that was started: it was no try.
func (l *lane) unsent(started entry) {
	if i, there := l.find(started); there && l.entries[i].tries > 0 {
		l.entries[i].tries--
	}
}

// fly marks an entry as being dealt with.
func (l *lane) fly(e *entry) {
	e.status = flying
	l.flying++
}

// sweep drops what is gone, when that is most of what there is and none of it is
// stored any more: a feed that begins anew would bring it back, and one that has not
// ended may bring another copy.
func (l *lane) sweep() {
	if l.arriving || len(l.entries) < 64 || l.live*2 > len(l.entries) || len(l.done) > 0 || l.removing {
		return
	}
	l.entries = slices.DeleteFunc(l.entries, func(e entry) bool { return e.status.over() })
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
	// The last fifth of the wait is spread, so that endpoints that failed together
	// are not probed together; more would make 100 probes of six hours' 80.
	spread := time.Duration(float64(l.wait) * (0.8 + jitter/5))
	l.probeAt = now.Add(max(spread, hold))
	return l.probeAt
}

// hear notes that an endpoint which fails already asked to be left alone.
func (l *lane) hear(hold time.Duration, now time.Time) {
	if until := now.Add(hold); until.After(l.probeAt) {
		l.probeAt = until
	}
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
	l.anew = true
	for i := range l.entries {
		l.entries[i].due = 0
	}
	l.scan, l.nextDue = 0, 0
	l.probeAt, l.held = time.Time{}, time.Time{}
}
