// Package replay sends stored events again, as a job that every replica works on.
//
// A job is one record in the bucket webhook_replays, under its id:
//
//	{"format":"1","id":"k7x2m4qa","by":"ops@host","at":"2026-01-31T12:00:00Z","reason":"outage of example.com",
//	 "stream_created":"2026-01-01T00:00:00Z","start":101,"end":1040,"surveys":["s1","s2"],"rate":1000,"events":880,
//	 "state":"running","since":"2026-01-31T12:00:00Z","settled":412,
//	 "counts":{"delivered":250,"parked":7,"no_webhook":12}}
//
// What is to be replayed is fixed when the job begins: events that come later are
// not in it. Whoever writes a record compares and sets; the same record is read by
// `webhooks replay show`. Every replica that sees a running job works on it through
// one durable consumer on the event stream, webhooks-replay-<id>, with the start and
// the surveys as its filter. So the server holds the cursor: a replica that dies
// leaves nothing behind but what it had in hand.
//
// # States
//
//	          ┌──────── pause ────────┐
//	          │                       ▼
//	start ─► running                paused
//	          │  ▲                    │ │
//	          │  └─────── resume ─────┘ └─ cancel ─► cancelled
//	          ├─ cancel ───────────────────────────► cancelled
//	          ├─ everything up to its end is settled ► done
//	          └─ the event stream is another one ────► failed
//
// # Settled
//
// settled is the acknowledgement floor of the job's consumer as last seen: every
// event up to there has been sent, parked or passed over. It only rises. A consumer
// that was lost is made again behind it, and what a consumer with a lost state
// brings from before it is not sent again.
//
// # Live traffic goes first
//
// A job has a rate, which the replicas share; all jobs of a replica share slots that
// are not the live consumer's; and nothing is pulled while the live consumer is behind
// (pace.go). An event whose endpoint is busy waits in hand, as long as few do; the others,
// and those whose endpoints fail, are parked in their lanes, as long as that leaves half
// of a lane to live events. What then has no place is left out, and the record says from
// where on; but a job for one survey or response goes on when its endpoint has time.
//
// # Where things are
//
//	record   what stands in the bucket
//	store    reads and writes it, for replicas and people
//	change   which state follows which: pure
//	look     what is to be done with a job as it stands: pure
//	pace     how fast, and when not
//	runner   which jobs this replica works on
//	worker   one of them
//	place    where in the event stream a moment is
package replay

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/popsee/webhooks/events"
)

// State is how a job stands.
type State string

// The states; see the package's picture.
const (
	Running   State = "running"
	Paused    State = "paused"
	Cancelled State = "cancelled"
	Done      State = "done"
	Failed    State = "failed"
)

// Ended says that nothing will happen any more.
func (s State) Ended() bool { return s == Cancelled || s == Done || s == Failed }

const (
	// DefaultRate is how many events a second a job sends when nobody says
	// otherwise, all replicas together. On two busy cores 500 made the p99 of live
	// events beside it up to twice as long; a million takes 83 minutes with it, and
	// whoever has cores to spare says more (deployments/benchmarks.md).
	DefaultRate = 200
	// MaxSurveys is how many surveys one job can name; it is bounded because they
	// stand in its record.
	MaxSurveys = 1000
	// MaxText is how many bytes a reason, a name or a response's id has at most.
	MaxText = 1024

	maxLeftOut = 100 // surveys listed in LeftOut
	MaxKey     = 255 // of an idempotency key, in bytes
)

// Record is one job.
type Record struct {
	Format string    `json:"format"`
	ID     string    `json:"id"`
	By     string    `json:"by,omitempty"` // who started it, as far as they said
	At     time.Time `json:"at"`           // when
	Reason string    `json:"reason,omitempty"`

	StreamCreated time.Time       `json:"stream_created"`     // of the event stream that the sequences belong to
	Start         uint64          `json:"start"`              // the first sequence of it that is replayed
	End           uint64          `json:"end"`                // and the last
	Surveys       []events.Survey `json:"surveys,omitempty"`  // only theirs; none means all
	Response      string          `json:"response,omitempty"` // only this one; empty means all
	Rate          float64         `json:"rate"`               // events a second, all replicas together; 0 means as fast as it goes
	Events        uint64          `json:"events"`             // that stood between Start and End at the start, on the subjects that are read

	State State     `json:"state"`
	Since time.Time `json:"since"`         // when that began
	Why   string    `json:"why,omitempty"` // a failed one failed, in one line

	Settled uint64                   `json:"settled"`            // every event up to this sequence is settled
	Given   uint64                   `json:"given,omitempty"`    // and up to this one given to some replica, as last seen
	Counts  Counts                   `json:"counts"`             // a crash may lose, or count twice, what was in hand
	Gone    uint64                   `json:"gone,omitempty"`     // events that left the event stream before they were replayed, at most
	LeftOut map[events.Survey]uint64 `json:"left_out,omitempty"` // survey -> the first sequence left out; at most 100 are listed
	Updated time.Time                `json:"updated,omitzero"`   // when progress was last written

	Key   string `json:"idempotency_key,omitempty"` // under which it was asked for; see [IDOf]
	Asked string `json:"asked,omitempty"`           // what was asked for under it: a digest

	Revision uint64 `json:"-"` // of the record as it was read; the bucket has it
}

// Counts are what became of a job's events.
type Counts struct {
	Delivered uint64 `json:"delivered,omitempty"`  // a 2xx
	Parked    uint64 `json:"parked,omitempty"`     // they wait in their lanes, and are sent from there
	Owed      uint64 `json:"owed,omitempty"`       // their lanes bring them from the event stream by themselves
	NoWebhook uint64 `json:"no_webhook,omitempty"` // their surveys have no webhook: nothing is owed
	Dead      uint64 `json:"dead,omitempty"`       // they can never be delivered: dead letters
	Skipped   uint64 `json:"skipped,omitempty"`    // read, and of another survey or response than asked for
	LeftOut   uint64 `json:"left_out,omitempty"`   // their endpoints fail or are busy, and their lanes have no room
}

// Uncounted is how many events of a job that is done nobody has counted. They were
// settled, or deleted, all the same: a replica that ended before it had written its
// counts took them along. While replicas may still write theirs, for some seconds
// after the end, it falls. It is too low by what was counted twice, or left the event
// stream while it was none of the job's.
func (r Record) Uncounted() uint64 {
	known := r.Counts.Sum() + r.Gone
	if r.State != Done || known >= r.Events {
		return 0
	}
	return r.Events - known
}

// Handled is how many of a job's events have come to an end, those that are gone
// included. A crash may have counted some twice.
func (r Record) Handled() uint64 {
	if r.State == Done {
		return r.Events
	}
	return min(r.Counts.Sum()+r.Gone, r.Events)
}

// Reporting says whether replicas may still write what they have counted.
func (r Record) Reporting(now time.Time) bool {
	return r.State == Done && now.Sub(r.Since) < reportTime
}

// reportTime is how long after a job's end every replica that lives has written its
// counts: it looks at the job each second, and a pull under way takes another.
const reportTime = 5 * time.Second

// Sum is how many events that is.
func (c Counts) Sum() uint64 {
	return c.Delivered + c.Parked + c.Owed + c.NoWebhook + c.Dead + c.Skipped + c.LeftOut
}

func (c *Counts) add(d Counts) {
	c.Delivered += d.Delivered
	c.Parked += d.Parked
	c.Owed += d.Owed
	c.NoWebhook += d.NoWebhook
	c.Dead += d.Dead
	c.Skipped += d.Skipped
	c.LeftOut += d.LeftOut
}

// NewID makes an id: eight characters, good as a key and in a consumer's name.
func NewID() string { return strings.ToLower(rand.Text()[:8]) }

// IDOf is the id of the job that is asked for under an idempotency key: sixteen
// characters of the key's digest. So whoever asks a second time, on whichever
// replica, means the same key of the bucket, and creating that is what only one
// can do.
func IDOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// ParseID refuses what cannot be a replay's id.
func ParseID(s string) (string, error) {
	if s == "" || len(s) > 32 || strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) >= 0 {
		return "", fmt.Errorf("%.40q is not the id of a replay", s)
	}
	return s, nil
}

// validate refuses a job that makes no sense, whoever wrote it.
func (r Record) validate() error {
	_, err := ParseID(r.ID)
	switch {
	case err != nil:
		return err
	case r.Start == 0 || r.End < r.Start:
		return fmt.Errorf("a replay from sequence %d to %d: there is nothing in between", r.Start, r.End)
	case r.Rate < 0:
		return fmt.Errorf("a replay of %g events a second", r.Rate)
	case len(r.Surveys) > MaxSurveys:
		return fmt.Errorf("a replay of %d surveys: one can name %d", len(r.Surveys), MaxSurveys)
	case len(r.Reason) > MaxText || len(r.By) > MaxText || len(r.Response) > MaxText:
		return fmt.Errorf("the reason, the name or the response is longer than %d bytes", MaxText)
	case len(r.Key) > MaxKey:
		return fmt.Errorf("an idempotency key of more than %d bytes", MaxKey)
	case r.StreamCreated.IsZero():
		return errors.New("a replay of no event stream in particular")
	}
	return nil
}

// Newer says that a newer version wrote a job. This one neither works on it nor
// changes it.
type Newer struct {
	Format string // as it stands in the record
}

// Error says what was found.
func (n *Newer) Error() string {
	return fmt.Sprintf("replay of format %.16q, this version reads %s", n.Format, events.Format)
}

// Hint says what to do.
func (n *Newer) Hint() string {
	return "ask a replica, or use a webhooks command, of the newer version"
}

func decode(value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return Record{}, fmt.Errorf("read a replay: %w", err)
	}
	if r.Format != events.Format {
		return Record{}, &Newer{Format: r.Format}
	}
	return r, r.validate()
}

func encode(r Record) []byte {
	r.Format = events.Format
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, numbers and times alone cannot fail
	}
	return b
}
