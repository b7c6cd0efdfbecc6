package events

import "time"

// Event is one completed response, decoded as far as delivery needs it.
type Event struct {
	ID     string // the response's id: 1 to 128 printable ASCII characters, the same on every attempt
	Kind   string // always KindCompleted
	Survey Survey
	Time   time.Time // the event's own timestamp
	Body   []byte    // delivered byte for byte; the message's memory, not to be changed

	Traceparent, Tracestate string // from the message's headers; empty when absent or malformed
}
