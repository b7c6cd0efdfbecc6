package lanes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

// Waiting is one event in a lane.
type Waiting struct {
	Survey                  events.Survey
	EventID                 string
	Source                  uint64    // its sequence in the event stream
	Published               time.Time // when it was published there; what it is recognised by, with its source
	Parked                  time.Time
	Attempts                int       // tries before it was parked
	First, Last             time.Time // when those were; zero: not known, and a moment before it was parked
	Reason                  string    // why it was parked
	DueNow                  bool      // it was not tried, or its endpoint fails as a whole: its own schedule says nothing
	Traceparent, Tracestate string
	Replay                  string // the replay that parked it; empty: none did
	Body                    []byte

	Probe bool // this try is the one that finds out whether a failing endpoint works again; not stored
}

// The headers of a parked event. What each has is in one: to read nine of them, and to
// carry them, was a fifth of what parking costs the service and its server.
const (
	headerWaiting = "Popsee-Waiting"
	headerFirst   = "Popsee-First-Attempt"
	headerLast    = "Popsee-Last-Attempt"
	headerReplay  = "Popsee-Replay"
	headerParent  = "traceparent"
	headerState   = "tracestate"
)

// The word in [headerWaiting] that says when an event is tried first.
const (
	whenDue = "own" // by its own schedule
	whenNow = "now"
)

// message is the event's copy on the lanes stream. It never carries a message
// id: publishing what was parked, delivered and parked again must store it.
func (w Waiting) message(names events.Names) *nats.Msg {
	h := nats.Header{events.FormatHeader: {events.Format}, headerWaiting: {w.text()}}
	set := func(key, value string) {
		if value != "" {
			h[key] = []string{value}
		}
	}
	set(headerFirst, textOf(w.First))
	set(headerLast, textOf(w.Last))
	set(headerReplay, w.Replay)
	set(headerParent, w.Traceparent)
	set(headerState, w.Tracestate)
	return &nats.Msg{Subject: names.LaneSubject(w.Survey), Header: h, Data: w.Body}
}

// text is what every parked event has, between blanks: its source, its publication, when
// it was parked, how often it was tried before, when it is tried first, its id, and why it
// was parked, which may have blanks, or not be there.
func (w Waiting) text() string {
	b := make([]byte, 0, 160)
	b = strconv.AppendUint(b, w.Source, 10)
	b = w.Published.UTC().AppendFormat(append(b, ' '), time.RFC3339Nano)
	b = w.Parked.UTC().AppendFormat(append(b, ' '), time.RFC3339Nano)
	b = strconv.AppendInt(append(b, ' '), int64(w.Attempts), 10)
	when := whenDue
	if w.DueNow {
		when = whenNow
	}
	for _, word := range []string{when, w.EventID, w.Reason} {
		b = append(append(b, ' '), word...)
	}
	return string(b)
}

// read is the other way round. A message of another format is an error, and left
// alone.
func read(h nats.Header, body []byte) (Waiting, error) {
	if f := h.Get(events.FormatHeader); f != events.Format {
		return Waiting{}, fmt.Errorf("parked event of format %.16q, this version reads %s", f, events.Format)
	}
	w := Waiting{Traceparent: h.Get(headerParent), Tracestate: h.Get(headerState), Replay: h.Get(headerReplay), Body: body}
	rest := textIn(h)
	next := func() (word string) {
		word, rest, _ = strings.Cut(rest, " ")
		return word
	}
	var err error
	if w.Source, err = strconv.ParseUint(next(), 10, 64); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its source: %w", err)
	}
	if w.Published, err = time.Parse(time.RFC3339Nano, next()); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its publication: %w", err)
	}
	if w.Parked, err = time.Parse(time.RFC3339Nano, next()); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its time: %w", err)
	}
	if w.Attempts, err = strconv.Atoi(next()); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its attempts: %w", err)
	}
	when := next()
	if w.DueNow = when == whenNow; !w.DueNow && when != whenDue {
		return Waiting{}, fmt.Errorf("parked event of which %.16q says when it is tried, this version knows %s and %s", when, whenNow, whenDue)
	}
	w.EventID, w.Reason = next(), rest
	w.First, w.Last = timeOf(h, headerFirst), timeOf(h, headerLast)
	return w, nil
}

// textIn is what [Waiting.text] has written, or the same of a copy that was parked before
// 2026-11-29 and has it in headers of their own.
func textIn(h nats.Header) string {
	if text := h.Get(headerWaiting); text != "" {
		return text
	}
	when := whenDue
	if h.Get("Popsee-Due-Now") == "true" {
		when = whenNow
	}
	return strings.Join([]string{
		h.Get("Popsee-Source-Sequence"), h.Get("Popsee-Published"), h.Get("Popsee-Parked"), h.Get("Popsee-Attempts"), when, h.Get("Popsee-Event"), h.Get("Popsee-Reason"),
	}, " ")
}

// textOf is a time that most events do not carry, as their copy does.
func textOf(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// timeOf is one that textOf has written; zero when it is not there.
func timeOf(h nats.Header, key string) time.Time {
	text := h.Get(key)
	if text == "" {
		return time.Time{}
	}
	at, _ := time.Parse(time.RFC3339Nano, text)
	return at
}

// tried is how often an event was tried, when first and when last, as far as that is
// known: before it was parked, so often in its lane, and by a try that has just ended.
func (w Waiting) tried(inLane int, ended time.Time) (n int, first, last time.Time) {
	before := w.Attempts + inLane
	switch {
	case before == 0:
		first = ended
	case w.First.IsZero():
		first = w.Parked
	default:
		first = w.First
	}
	switch {
	case !ended.IsZero():
		return before + 1, first, ended
	case inLane > 0 || before == 0: // when it was tried in its lane is not kept
		return before, first, time.Time{}
	case w.Last.IsZero():
		return before, first, w.Parked
	default:
		return before, first, w.Last
	}
}

// Source is the sequence in the event stream of a parked event; known is false when
// its headers do not say.
func Source(h nats.Header) (seq uint64, known bool) {
	word, _, _ := strings.Cut(textIn(h), " ")
	seq, err := strconv.ParseUint(word, 10, 64)
	return seq, err == nil
}
