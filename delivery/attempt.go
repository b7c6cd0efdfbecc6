package delivery

import (
	"time"

	"github.com/popsee/webhooks/events"
	"github.com/rs/zerolog"
)

// Meta is what an attempt is told about its place in the event's history.
type Meta struct {
	Number int    // the tries known to us, this one included; below 1 counts as 1
	Replay string // the replay's id; empty on a live event
	Test   bool   // a test event, marked as such to the receiver
}

// Phases says where an attempt's time went. A phase that did not happen, because the connection was reused or the
// attempt ended before, is zero.
type Phases struct {
	DNS       time.Duration
	Connect   time.Duration
	TLS       time.Duration
	FirstByte time.Duration // from the attempt's start to the first byte of the answer
	Reused    bool          // the connection was a kept one
}

// Attempt is what became of one try. It holds nothing secret: no URL beyond the host, no signature, no secret.
type Attempt struct {
	Survey   events.Survey
	EventID  string
	Host     string // host:port
	Revision uint64 // of the endpoint, as it was used
	Number   int
	Replay   string
	Test     bool
	Started  time.Time
	Took     time.Duration
	Phases   Phases
	Status   int // 0 when no answer came
	Verdict  Verdict
	Reason   Reason
	After    time.Duration // what Retry-After asked for on a 429 or 503, at most an hour; 0 = nothing
	Detail   string        // one redacted line of at most 256 bytes; empty when the status says it all
	Snippet  string        // the first 2 KiB of the response body, safe to print and redacted
}

// MarshalZerologObject writes the attempt as the fields of one log line. The snippet stays out: it is the receiver's
// text, wanted in the delivery log and nowhere else.
func (a Attempt) MarshalZerologObject(e *zerolog.Event) {
	e.Str("survey", string(a.Survey)).
		Str("event", a.EventID).
		Str("host", a.Host).
		Int("attempt", a.Number).
		Stringer("verdict", a.Verdict).
		Str("reason", string(a.Reason)).
		Dur("took", a.Took)
	if a.Status != 0 {
		e.Int("status", a.Status)
	}
	if a.Replay != "" {
		e.Str("replay", a.Replay)
	}
	if a.Test {
		e.Bool("test", true)
	}
	if a.After > 0 {
		e.Dur("retry_after", a.After)
	}
	if a.Detail != "" {
		e.Str("detail", a.Detail)
	}
	a.Phases.log(e)
}

func (p Phases) log(e *zerolog.Event) {
	if p.Reused {
		e.Bool("reused", true)
	}
	for _, phase := range [...]struct {
		name string
		took time.Duration
	}{{"dns", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"first_byte", p.FirstByte}} {
		if phase.took > 0 {
			e.Dur(phase.name, phase.took)
		}
	}
}
