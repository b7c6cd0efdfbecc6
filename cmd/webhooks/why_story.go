package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// facts is all that could be found out about one response.
type facts struct {
	now       time.Time
	id        string
	survey    events.Survey // empty: unknown
	stream    string
	sequence  uint64    // of the newest copy in the event stream
	published time.Time // then; zero: unknown
	gone      bool      // it has left the event stream
	copies    []uint64  // where it was published besides
	noEvent   string    // why its bytes are no event; empty: they are one

	records  []deliverylog.Record // of its sequence: attempts, settlements, and what was lost
	logFrom  time.Time            // the delivery log holds nothing of before; zero: nothing has left it
	letters  []deadletters.Letter
	waiting  *lanes.Standing // its copy in its lane
	health   health.Record
	obstacle obstacle
	live     liveFacts
	owned    bool   // some replica holds the lane's shard
	replicas int    // that live
	alarm    string // nothing new is delivered until a person decides
}

// liveFacts is where the live consumer stands.
type liveFacts struct {
	there     bool
	start     uint64 // it began at this sequence
	delivered uint64 // every event up to here was given to some replica
	floor     uint64 // every event up to here is settled
}

// obstacle is what keeps anything from being sent to an endpoint until somebody
// does something.
type obstacle uint8

const (
	noObstacle  obstacle = iota
	switchedOff          // its owner has switched it off
	noEndpoint           // there is none
	notValid             // it is not valid
	givenUp              // the service has disabled it
)

// story is the facts in order.
type story struct {
	Response  string        `json:"response"`
	Survey    events.Survey `json:"survey,omitempty"`
	Sequence  uint64        `json:"sequence,omitempty"`
	Published time.Time     `json:"published,omitzero"`
	Lines     []storyLine   `json:"story"`

	ending

	Notes []string `json:"notes,omitempty"`
}

// storyLine is one thing that happened.
type storyLine struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// tell makes the story of the facts. It is pure.
func (f *facts) tell() story {
	st := story{Response: f.id, Survey: f.survey, Sequence: f.sequence, Published: f.published, Lines: []storyLine{}, ending: f.ending(), Notes: f.notes()}
	say := func(at time.Time, format string, args ...any) {
		st.Lines = append(st.Lines, storyLine{at, fmt.Sprintf(format, args...)})
	}
	if !f.published.IsZero() {
		say(f.published, "published: sequence %d of %s", f.sequence, f.stream)
	}
	for _, r := range f.records {
		if what := f.recordTold(r); what != "" {
			say(r.At, "%s", what)
		}
	}
	for _, l := range f.letters {
		say(l.Buried, "became dead letter %d: %s", l.Sequence, because(l))
	}
	if f.waiting != nil && !f.hasRecord(deliverylog.KindParked, f.waiting.Parked) {
		say(f.waiting.Parked, "%s", parkedTold(f.waiting.Reason))
	}
	slices.SortStableFunc(st.Lines, func(a, b storyLine) int { return a.At.Compare(b.At) })
	return st
}

// same is how far apart two records of one thing may lie.
const same = 2 * time.Second

// hasRecord says whether the log tells of something at about a time.
func (f *facts) hasRecord(kind deliverylog.Kind, at time.Time) bool {
	return slices.ContainsFunc(f.records, func(r deliverylog.Record) bool { return r.Kind == kind && r.At.Sub(at).Abs() < same })
}

// recordTold is a record of the delivery log in words; empty when something else
// tells it better.
func (f *facts) recordTold(r deliverylog.Record) string {
	switch r.Kind {
	case deliverylog.KindAttempt:
		return attemptTold(r)
	case deliverylog.KindNoWebhook:
		return "settled without a request: the survey had no webhook, so nothing is owed"
	case deliverylog.KindOwed:
		return "left to be brought into its lane later: the lane was full, or its endpoint disabled"
	case deliverylog.KindParked:
		return "put into its lane, to wait"
	case deliverylog.KindDead:
		if slices.ContainsFunc(f.letters, func(l deadletters.Letter) bool { return l.Buried.Sub(r.At).Abs() < same }) {
			return ""
		}
		return "became a dead letter"
	case deliverylog.KindForgotten:
		return "erased, with what was tried before: somebody asked for that"
	default:
		return "" // what the log lost is a note
	}
}

// attemptTold is one try in words.
func attemptTold(r deliverylog.Record) string {
	try := fmt.Sprintf("try %d at %s: ", r.Number, cmp.Or(r.Host, "its endpoint"))
	if r.Replay != "" {
		try = fmt.Sprintf("try %d at %s, in replay %s: ", r.Number, r.Host, r.Replay)
	}
	took := tookTold(r.Took)
	detail := ""
	if r.Detail != "" {
		detail = ": " + r.Detail
	}
	switch {
	case r.Verdict == delivery.Delivered:
		return fmt.Sprintf("%saccepted, status %d after %s", try, r.Status, took)
	case r.Verdict == delivery.Ours:
		return fmt.Sprintf("%sour own fault, %s, not counted against it%s", try, r.Reason, detail)
	case r.Status != 0:
		return fmt.Sprintf("%snot accepted, status %d after %s%s", try, r.Status, took, detail)
	default:
		return fmt.Sprintf("%sno answer, %s after %s%s", try, r.Reason, took, detail)
	}
}

// tookTold is how long a try took.
func tookTold(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1ms"
	}
	return d.Round(time.Millisecond).String()
}

// parkedTold is why an event came into its lane.
func parkedTold(reason string) string {
	switch reason {
	case reasonRedriven:
		return "redriven: put back into its lane"
	case "owed":
		return "brought into its lane from the event stream, to which it was owed"
	default:
		return "put into its lane, to wait: " + reason
	}
}

func because(l deadletters.Letter) string {
	if l.Detail == "" {
		return l.Reason
	}
	return l.Reason + ", " + l.Detail
}

// notes are what the reader must know to judge the story.
func (f *facts) notes() (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if f.gone {
		note("its bytes have left the event stream")
	}
	if len(f.copies) > 0 {
		note("it was published %d times; this is the story of the newest, the others are at %s of %s", len(f.copies)+1, sequences(f.copies), f.stream)
	}
	if !f.logFrom.IsZero() && f.logFrom.After(f.published) {
		note("the delivery log begins at %s: what was tried before is no longer known", shortTime(f.logFrom))
	}
	for _, r := range f.records {
		if r.Kind == deliverylog.KindDropped {
			note("the delivery log lost %s of sequences %d to %d: tries may be missing here", count(r.Records, "record"), r.Source(), lastOf(r))
		}
	}
	if f.alarm != "" {
		note("nothing new is delivered until a person decides: %s; see: webhooks status", f.alarm)
	}
	switch {
	case f.replicas == 0:
		note("no replica of the service runs: nothing is delivered; start one with: webhooks run")
	case f.waiting != nil && !f.owned:
		note("no replica works on its lane right now; see: webhooks status")
	}
	return notes
}

func sequences(list []uint64) string {
	if len(list) == 1 {
		return fmt.Sprint("sequence ", list[0])
	}
	return "sequences " + listed(list)
}
