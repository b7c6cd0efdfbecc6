package deliverylog

import (
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Kind says what a record tells of. The set is closed: it is safe as a metric
// label.
type Kind string

// The kinds of a record.
const (
	KindAttempt   Kind = "attempt"    // one request to an endpoint
	KindNoWebhook Kind = "no-webhook" // settled: the survey has no webhook, nothing is owed
	KindOwed      Kind = "owed"       // let go: a replay sends it when the endpoint works again
	KindDead      Kind = "dead"       // let go: it is a dead letter
	KindParked    Kind = "parked"     // let go: it waits in its survey's lane
	KindForgotten Kind = "forgotten"  // erased, with all that the log told of it, because somebody asked for that
	KindDropped   Kind = "dropped"    // the log itself lost records, and says which
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindAttempt, KindNoWebhook, KindOwed, KindDead, KindParked, KindForgotten, KindDropped}
}

// Run is a run of sequences of the event stream, both ends included.
type Run struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// Len is how many sequences the run holds.
func (r Run) Len() uint64 { return r.To - r.From + 1 }

// Record is one entry of the delivery log: an attempt, or events that were
// settled without one, or records that were lost.
type Record struct {
	Kind    Kind          `json:"kind"`
	Survey  events.Survey `json:"survey,omitempty"`  // empty on a dropped record, and where nobody could read it
	Replica string        `json:"replica,omitempty"` // which of us wrote it
	At      time.Time     `json:"at"`                // when the attempt began, or the first event was settled
	Runs    []Run         `json:"runs"`              // where the events stand in the event stream, ascending; an attempt has one event; of a dropped record, the bounds of what was lost

	// What follows is an attempt's, as [delivery.Attempt] has it.

	EventID  string           `json:"event_id,omitempty"`
	Number   int              `json:"number,omitempty"`
	Revision uint64           `json:"revision,omitempty"`
	Host     string           `json:"host,omitempty"`
	Replay   string           `json:"replay,omitempty"`
	Test     bool             `json:"test,omitempty"`
	Took     time.Duration    `json:"took,omitempty"`
	Phases   delivery.Phases  `json:"phases,omitzero"`
	Status   int              `json:"status,omitempty"`
	Verdict  delivery.Verdict `json:"verdict,omitzero"`
	Reason   delivery.Reason  `json:"reason,omitempty"`
	After    time.Duration    `json:"after,omitempty"`
	Detail   string           `json:"detail,omitempty"`
	Snippet  string           `json:"snippet,omitempty"`

	// What follows is a dropped record's.

	Records uint64    `json:"records,omitempty"` // how many were lost
	Until   time.Time `json:"until,omitzero"`    // when the last of them was
}

// Source is where an attempt's event stands in the event stream.
func (r Record) Source() uint64 {
	if len(r.Runs) == 0 {
		return 0
	}
	return r.Runs[0].From
}

// Has says whether the record tells of a sequence of the event stream. What a
// dropped record has may or may not have been lost.
func (r Record) Has(seq uint64) bool {
	for _, run := range r.Runs {
		if run.From <= seq && seq <= run.To {
			return true
		}
	}
	return false
}
