package deadletters

import (
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/events"
)

// Letter is one event that was given up on.
type Letter struct {
	Survey      events.Survey `json:"survey,omitempty"`   // empty: unknown
	EventID     string        `json:"event_id,omitempty"` // empty: unknown
	Reason      string        `json:"reason"`             // one word
	Detail      string        `json:"detail,omitempty"`   // one line
	Stack       string        `json:"stack,omitempty"`    // of a panic
	Stream      string        `json:"source_stream"`      // filled when it is buried
	Source      uint64        `json:"source_sequence"`    // in Stream
	Published   time.Time     `json:"published,omitzero"`
	Attempts    int           `json:"attempts"`
	First       time.Time     `json:"first_attempt,omitzero"`
	Last        time.Time     `json:"last_attempt,omitzero"`
	Traceparent string        `json:"traceparent,omitempty"`
	Tracestate  string        `json:"tracestate,omitempty"`
	Body        []byte        `json:"-"`          // the event's bytes; nil when they were not asked for, or are not here
	Bytes       int           `json:"body_bytes"` // the body's length, also where Body is nil

	// What follows is filled when a letter is read.

	ByReference bool      `json:"by_reference,omitempty"` // the body was too large to copy and still stands at Source only
	SHA256      string    `json:"body_sha256,omitempty"`  // of the body, in hex; on a letter by reference only
	Sequence    uint64    `json:"sequence"`               // in the dead letter stream
	Buried      time.Time `json:"buried"`
}

// ErrNoLetter says that there is no letter at a sequence: none ever was, or it
// was redriven, purged or has expired.
var ErrNoLetter = errors.New("no such dead letter")

// ErrNoBody says that the body of a letter by reference is not where it stood:
// it has left the event stream.
var ErrNoBody = errors.New("the body was too large to copy, and is no longer in the event stream")

// Unreadable is the error of one message on the dead letter stream that this
// version cannot read. It is left alone, and concerns no other letter.
type Unreadable struct {
	Sequence uint64
	Format   string // what its format header says; empty without one
	Err      error  // what is wrong with it, where the format is known
}

// Error says which letter cannot be read, and why.
func (u *Unreadable) Error() string {
	switch {
	case u.Err != nil:
		return fmt.Sprintf("dead letter %d cannot be read and is left alone: %v", u.Sequence, u.Err)
	case u.Format == "":
		return fmt.Sprintf("message %d among the dead letters is none of ours and is left alone", u.Sequence)
	default:
		return fmt.Sprintf("dead letter %d has format %.16q, this version reads %s; it is left alone", u.Sequence, u.Format, events.Format)
	}
}

// Hint says what to do about it.
func (u *Unreadable) Hint() string {
	if u.Err == nil && u.Format != "" {
		return "a newer version wrote it: use that version to list, redrive or purge it"
	}
	return "look at it with: nats stream get; remove it by hand if nothing needs it"
}

// Unwrap gives what is wrong with the letter.
func (u *Unreadable) Unwrap() error { return u.Err }
