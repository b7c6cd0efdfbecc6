package admit

import "time"

// Outcome is how an attempt ended, as far as admission cares.
type Outcome uint8

// The outcomes.
const (
	Won     Outcome = iota // a 2xx
	Lost                   // the endpoint's failure
	TimeOut                // its failure, by time: counts as five
	Asked                  // its failure, with the wish to be left alone for longer than a moment: counts as five
	Neither                // ours: counts for nothing
)

// Ticket is the right to one attempt. It must be given back.
type Ticket struct {
	gate       *Gate
	shard      *shard
	endpoint   *endpoint
	host       *host
	hostName   string
	since      time.Time
	old        bool // counted as slow; guarded by the shard
	probe      bool // the one attempt a suspect host gets
	prev, next *Ticket
}

// Leave gives the ticket back with how the attempt ended. It returns true when
// this attempt made the endpoint fail as a whole.
func (t *Ticket) Leave(o Outcome) (failing bool) {
	now := time.Now()
	t.shard.mu.Lock()
	e := t.endpoint
	e.flying.remove(t)
	e.lastUsed = now
	switch o {
	case Won:
		e.won(now, now.Sub(t.since))
	case Lost:
		failing = e.budget.lost(1)
	case TimeOut, Asked:
		failing = e.budget.lost(failuresInARow)
	case Neither:
	}
	if o == Lost || o == TimeOut || o == Asked {
		e.lastBad = now
	}
	if t.old {
		t.host.old.Add(-1)
		t.gate.old.Add(-1)
	}
	e.wake()
	t.shard.mu.Unlock()
	if o != TimeOut && o != Neither { // it was answered
		t.host.heard.Store(now.UnixNano())
		if !t.old || o == Won && t.host.old.Load() < hostOld {
			t.host.suspect.Store(false) // in time, or late and no others hang: it is slow, and works
		}
	}
	t.host.flying.Add(-1)
	if t.probe {
		t.host.probing.Store(false)
	}
	t.gate.letGo(t.hostName)
	t.gate.flying.Add(-1)
	return failing
}

// paceOver is over how many 2xx an endpoint's pace is smoothed.
const paceOver = 16

// won takes one 2xx that took so long.
func (e *endpoint) won(now time.Time, took time.Duration) {
	e.budget.won()
	e.lastGood = now
	if e.pace == 0 {
		e.pace = took
	}
	e.pace = max(e.pace+(took-e.pace)/paceOver, 1)
}

// tickets is a list in the order attempts began, oldest first.
type tickets struct {
	head, tail *Ticket
	n          int
}

func (l *tickets) oldest() *Ticket { return l.head }

func (l *tickets) push(t *Ticket) {
	t.prev = l.tail
	if l.tail != nil {
		l.tail.next = t
	} else {
		l.head = t
	}
	l.tail = t
	l.n++
}

func (l *tickets) remove(t *Ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}
