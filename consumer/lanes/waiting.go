package lanes

import (
	"fmt"
	"strconv"
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

// The headers of a parked event.
const (
	headerSource    = "Popsee-Source-Sequence"
	headerPublished = "Popsee-Published"
	headerParked    = "Popsee-Parked"
	headerAttempts  = "Popsee-Attempts"
	headerFirst     = "Popsee-First-Attempt"
	headerLast      = "Popsee-Last-Attempt"
	headerReason    = "Popsee-Reason"
	headerEvent     = "Popsee-Event"
	headerDueNow    = "Popsee-Due-Now"
	headerReplay    = "Popsee-Replay"
	headerParent    = "traceparent"
	headerState     = "tracestate"
)

// message is the event's copy on the lanes stream. It never carries a message
// id: publishing what was parked, delivered and parked again must store it.
func (w Waiting) message(names events.Names) *nats.Msg {
	h := nats.Header{}
	set := func(key, value string) {
		if value != "" {
			h[key] = []string{value}
		}
	}
	set(events.FormatHeader, events.Format)
	set(headerSource, strconv.FormatUint(w.Source, 10))
	set(headerPublished, w.Published.UTC().Format(time.RFC3339Nano))
	set(headerParked, w.Parked.UTC().Format(time.RFC3339Nano))
	set(headerAttempts, strconv.Itoa(w.Attempts))
	set(headerFirst, textOf(w.First))
	set(headerLast, textOf(w.Last))
	set(headerReason, w.Reason)
	set(headerEvent, w.EventID)
	if w.DueNow {
		set(headerDueNow, "true")
	}
	set(headerReplay, w.Replay)
	set(headerParent, w.Traceparent)
	set(headerState, w.Tracestate)
	return &nats.Msg{Subject: names.LaneSubject(w.Survey), Header: h, Data: w.Body}
}

// read is the other way round. A message of another format is an error, and left
// alone.
func read(h nats.Header, body []byte) (Waiting, error) {
	if f := h.Get(events.FormatHeader); f != events.Format {
		return Waiting{}, fmt.Errorf("parked event of format %.16q, this version reads %s", f, events.Format)
	}
	w := Waiting{
		EventID: h.Get(headerEvent), Reason: h.Get(headerReason), DueNow: h.Get(headerDueNow) == "true",
		Traceparent: h.Get(headerParent), Tracestate: h.Get(headerState), Replay: h.Get(headerReplay), Body: body,
	}
	var err error
	if w.Source, err = strconv.ParseUint(h.Get(headerSource), 10, 64); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its source: %w", err)
	}
	if w.Parked, err = time.Parse(time.RFC3339Nano, h.Get(headerParked)); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its time: %w", err)
	}
	if w.Published, err = time.Parse(time.RFC3339Nano, h.Get(headerPublished)); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its publication: %w", err)
	}
	if w.Attempts, err = strconv.Atoi(h.Get(headerAttempts)); err != nil {
		return Waiting{}, fmt.Errorf("parked event without its attempts: %w", err)
	}
	w.First, w.Last = timeOf(h, headerFirst), timeOf(h, headerLast)
	return w, nil
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
	seq, err := strconv.ParseUint(h.Get(headerSource), 10, 64)
	return seq, err == nil
}
