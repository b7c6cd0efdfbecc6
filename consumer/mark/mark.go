// Package mark keeps our own record of how far the live consumer has come.
//
// The server's record can be lost: deleted, or emptied by a power cut, after
// which the whole history would be sent again. The mark is what it is compared
// with, about every second:
//
//	mark   consumer   floor              what happens
//	no     no         –                  first start: new events only
//	no     yes        –                  its floor becomes the mark
//	yes    no         –                  created again at the mark + 1
//	yes    yes        at or near it      all is well
//	yes    yes        fell behind        alarm; a person decides (Resume)
//	other stream's    any                alarm; a person decides (Resume)
package mark

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/popsee/webhooks/events"
)

// A killed NATS server loses at most the last ~300 ms of a consumer's state
// (measured), so a floor below the one of five seconds before the last mark
// means that state was lost on disk, not in flight.
const (
	markSlack  = 5 * time.Second
	markMemory = 30 * time.Second // how far back a mark remembers its floors
)

// mark is our own durable record of how far the live consumer had come. The
// server's record can be emptied by a power cut, and would then send the whole
// history again; this one is what it is compared with.
type mark struct {
	Format  string    `json:"format"`         // events.Format; empty in marks of before there was one, which read the same
	Floor   uint64    `json:"floor"`          // every stream sequence up to here is settled
	Created time.Time `json:"stream_created"` // of the event stream the floor belongs to
	At      time.Time `json:"at"`
	Recent  []point   `json:"recent,omitempty"` // oldest first; the floors of the last 30 s, and the newest before them
}

// point is the floor at one moment.
type point struct {
	At    time.Time `json:"at"`
	Floor uint64    `json:"floor"`
}

func newMark(floor uint64, created, at time.Time) mark {
	return mark{Floor: floor, Created: created, At: at, Recent: []point{{at, floor}}}
}

func parseMark(value []byte) (mark, error) {
	if format := events.OtherFormat(value); format != "" {
		return mark{}, &Newer{Format: format}
	}
	var m mark
	if err := json.Unmarshal(value, &m); err != nil {
		return mark{}, fmt.Errorf("read the mark: %w", err)
	}
	return m, nil
}

func (m mark) encode() []byte {
	m.Format = events.Format
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and times alone cannot fail
	}
	return b
}

// bound is the floor below which no honest consumer can fall: what it was five
// seconds before the last mark, or the oldest one remembered.
func (m mark) bound() uint64 {
	if len(m.Recent) == 0 {
		return m.Floor
	}
	bound := m.Recent[0].Floor
	for _, p := range m.Recent {
		if p.At.After(m.At.Add(-markSlack)) {
			break
		}
		bound = p.Floor
	}
	return bound
}

// moved returns the mark after the floor was seen at a later time.
func (m mark) moved(floor uint64, at time.Time) mark {
	recent := append(slices.Clone(m.Recent), point{at, floor})
	for len(recent) > 1 && recent[1].At.Before(at.Add(-markMemory)) {
		recent = recent[1:]
	}
	return mark{Floor: floor, Created: m.Created, At: at, Recent: recent}
}

// sight is what stands on the bus when the mark is judged.
type sight struct {
	Created     time.Time // of the event stream
	First, Last uint64    // its sequences
	Consumer    bool      // whether the live consumer exists
	Floor       uint64    // its ack floor
}

// standing is what the mark and the bus say together.
type standing uint8

const (
	standingFine      standing = iota // the consumer stands where it should
	standingFirst                     // no mark, no consumer: the first start
	standingAdopt                     // no mark, but a consumer: take its floor as the mark
	standingMissing                   // the consumer is gone: create it again behind the mark
	standingFallen                    // the consumer fell behind what was settled: its state was lost
	standingRecreated                 // the event stream is another one
)

// judge is the only place that decides what the mark means.
func judge(m *mark, s sight) standing {
	switch {
	case m == nil && !s.Consumer:
		return standingFirst
	case m == nil:
		return standingAdopt
	case !m.Created.Equal(s.Created):
		return standingRecreated
	case !s.Consumer:
		return standingMissing
	case s.Floor < m.bound():
		return standingFallen
	default:
		return standingFine
	}
}

// alarmFor says in words why the live consumer must not go on, and which one
// command resumes it.
func alarmFor(st standing, m mark, s sight) *Alarm {
	switch st {
	case standingFallen:
		return &Alarm{
			What: fmt.Sprintf("the live consumer's state was lost: it stands at sequence %d, but everything up to %d was settled (last seen %s)",
				s.Floor, m.Floor, m.At.UTC().Format(time.RFC3339)),
			Command: "webhooks provision --resume-from mark",
			Then:    fmt.Sprintf("continues at sequence %d, where it stood", m.Floor+1),
		}
	case standingRecreated:
		return &Alarm{
			What: fmt.Sprintf("the event stream is another one: it was created %s, the mark belongs to the one created %s",
				s.Created.UTC().Format(time.RFC3339), m.Created.UTC().Format(time.RFC3339)),
			Command: "webhooks provision --resume-from first",
			Then:    fmt.Sprintf("delivers all that the new stream holds, from sequence %d (use --resume-from new to skip what it holds; where it was restored from a backup alone, one more than settled in its manifest.json)", s.First),
		}
	default:
		return nil
	}
}

// Alarm is why the live consumer has stopped by itself and will not go on until
// a person has decided. Nothing is delivered and nothing is lost meanwhile.
type Alarm struct {
	What    string // what was found
	Command string // the one command that resumes
	Then    string // what that command makes happen
}

// Error says what was found; [Alarm.Hint] what to do.
func (a *Alarm) Error() string { return a.What }

// Hint names the command that resumes and what it does.
func (a *Alarm) Hint() string { return fmt.Sprintf("%s: %s", a.Command, a.Then) }
