package replay

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
)

// sight is what stands on the bus when a job is looked at.
type sight struct {
	created time.Time // of the event stream
	first   uint64    // its first sequence
	cursor  *cursor   // nil: the job's consumer is not there
}

// cursor is how far the job's consumer has come.
type cursor struct {
	given   uint64 // up to this sequence everything was given to some replica
	floor   uint64 // and up to this one settled
	pending uint64 // events not yet given, those beyond the job's end included
	inHand  int    // given, and not settled
}

func sightOf(stream *jetstream.StreamInfo, cons *jetstream.ConsumerInfo) sight {
	s := sight{created: layout.Born(stream), first: stream.State.FirstSeq}
	if cons != nil {
		s.cursor = &cursor{given: cons.Delivered.Stream, floor: cons.AckFloor.Stream, pending: cons.NumPending, inHand: cons.NumAckPending}
	}
	return s
}

// step is what is to be done with a job.
type step uint8

const (
	stepWork    step = iota // go on
	stepRest                // nothing: it does not run
	stepCreate              // its consumer is to be made, behind what is settled
	stepFinish              // everything up to its end is settled
	stepForeign             // its sequences mean other events now
)

// judge is the only place that decides that.
func judge(r Record, s sight) step {
	switch {
	case r.State != Running:
		return stepRest
	case !r.StreamCreated.Equal(s.created):
		return stepForeign
	case r.Settled >= r.End:
		return stepFinish
	case s.cursor == nil:
		return stepCreate
	case s.cursor.finished(r.End):
		return stepFinish
	default:
		return stepWork
	}
}

// finished says whether nothing up to a sequence is left. The event stream reaches
// farther, so a consumer for which nothing is left has passed it.
func (c cursor) finished(end uint64) bool {
	return c.floor >= end || c.pending == 0 && c.inHand == 0
}

// errForeign is why a job fails whose event stream was made anew.
var errForeign = errors.New("the event stream was made anew: its sequences mean other events; start another replay by time")

// from is where a job's consumer is made to begin.
func (r Record) from() uint64 { return max(r.Start, r.Settled+1) }
