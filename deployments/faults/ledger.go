package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ledger is the truth that the service is held to: what was published and
// acknowledged, and what was answered with a 2xx. It is safe for concurrent use.
type ledger struct {
	name string // of the deployment: the ids of its events begin with it

	mu      sync.Mutex // guards what follows
	events  []event
	answers []answer
	again   int // 2xx for an event that had had one
	refused int // publications nobody acknowledged
	running int // requests that have no answer yet
}

// event is one that was published.
type event struct {
	survey   int
	made     time.Time // when it was published for the first time
	seq      uint64    // in the event stream; 0: not acknowledged
	acked    time.Time // when
	accepted int       // 2xx it was given
	first    time.Time // when it got the first
}

// answer is one 2xx.
type answer struct {
	at   time.Time
	late bool // by an endpoint that flaps, so long after the event was acknowledged that it may have come of a lane
}

// soon is how long an event takes from its acknowledgement to its 2xx at most, when
// nothing holds it up.
const soon = 500 * time.Millisecond

func (l *ledger) id(i int) string { return l.name + "-" + strconv.Itoa(i) }

// index reads an event's number from its id; false says that this deployment has none
// that is called so.
func (l *ledger) index(id string) (int, bool) {
	digits, _ := strings.CutPrefix(id, l.name+"-")
	i, err := strconv.Atoi(digits)
	l.mu.Lock()
	defer l.mu.Unlock()
	return i, err == nil && i >= 0 && i < len(l.events) && l.id(i) == id
}

// next makes an event that is about to be published.
func (l *ledger) next(survey int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event{survey: survey, made: time.Now()})
	return len(l.events) - 1
}

func (l *ledger) acked(i int, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[i].seq, l.events[i].acked = seq, time.Now()
}

func (l *ledger) notAcked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
}

// begin notes a request that has come, and returns how to note its end.
func (l *ledger) begin() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running--
	}
}

// event is a copy of one.
func (l *ledger) event(i int) event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[i]
}

// body is an event's bytes: made of nothing but what is known of it, so that it is also
// known whether they have come as they were published.
func (l *ledger) body(i int) []byte {
	e := l.event(i)
	return bodyOf(l.id(i), e.survey, e.made)
}

// published finds the event that a survey's endpoint was sent. An error says that it
// should not have been: nobody published it, it is another survey's, or these are not
// its bytes.
func (l *ledger) published(id string, survey int, body []byte) (int, error) {
	i, ours := l.index(id)
	if !ours {
		return 0, fmt.Errorf("nobody published an event %q", id)
	}
	if want := l.event(i).survey; want != survey {
		return 0, fmt.Errorf("event %s of survey %s came to the endpoint of %s", id, surveyID(want), surveyID(survey))
	}
	if want := l.body(i); !bytes.Equal(body, want) {
		return 0, fmt.Errorf("event %s came as other bytes than were published: %q instead of %q", id, body, want)
	}
	return i, nil
}

// accept notes that an event was given a 2xx.
func (l *ledger) accept(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, now := &l.events[i], time.Now()
	e.accepted++
	l.answers = append(l.answers, answer{now, kindOf(e.survey) == flapping && e.seq != 0 && now.Sub(e.acked) > soon})
	if e.accepted > 1 {
		l.again++
		return
	}
	e.first = now
}

// totals are what was counted so far.
type totals struct {
	Published, Acked, Refused, Delivered, Again int
}

func (l *ledger) totals() totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := totals{Published: len(l.events), Refused: l.refused, Again: l.again}
	for i := range l.events {
		if l.events[i].seq != 0 {
			t.Acked++
		}
		if l.events[i].accepted > 0 {
			t.Delivered++
		}
	}
	return t
}

// known is a copy of every event acknowledged until a moment, by its number.
func (l *ledger) known(until time.Time) map[int]event {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[int]event{}
	for i, e := range l.events {
		if e.seq != 0 && !e.acked.After(until) {
			m[i] = e
		}
	}
	return m
}

// all is a copy of every event.
func (l *ledger) all() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// lastAck is when an event was acknowledged last, of those published lately.
func (l *ledger) lastAck() (last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.events) - 1; i >= max(len(l.events)-10_000, 0); i-- {
		if l.events[i].acked.After(last) {
			last = l.events[i].acked
		}
	}
	return last
}

// firstDelivered is when an event of a healthy endpoint, acknowledged after a
// moment, had its first 2xx; zero: none had yet.
func (l *ledger) firstDelivered(after time.Time) (first time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[max(len(l.events)-10_000, 0):] {
		if kindOf(e.survey) == steady && e.acked.After(after) && !e.first.IsZero() && (first.IsZero() || e.first.Before(first)) {
			first = e.first
		}
	}
	return first
}
