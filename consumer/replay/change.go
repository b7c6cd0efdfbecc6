package replay

import (
	"fmt"
	"time"

	"github.com/popsee/webhooks/events"
)

// Refused is a change that a job's state does not allow.
type Refused struct {
	ID    string
	State State  // as it is
	Want  string // what was asked for, as a verb
}

// Error says both.
func (r *Refused) Error() string {
	return fmt.Sprintf("replay %s is %s: it cannot be %s", r.ID, r.State, r.Want)
}

// to changes the state, where that follows from the one there is. What stands
// already is no error: a command may be given twice.
func (r *Record) to(want State, verb string, at time.Time) error {
	if r.State == want {
		return nil
	}
	if r.State.Ended() {
		return &Refused{ID: r.ID, State: r.State, Want: verb}
	}
	r.State, r.Since = want, at.UTC()
	return nil
}

// Stop pauses a job: what is in hand is finished, and nothing more begun.
func (r *Record) Stop(at time.Time) error { return r.to(Paused, "paused", at) }

// Go resumes a job where it stands.
func (r *Record) Go(at time.Time) error { return r.to(Running, "resumed", at) }

// Drop cancels a job for good; what was sent stays sent.
func (r *Record) Drop(at time.Time) error { return r.to(Cancelled, "cancelled", at) }

// progress is what a replica has to say of a job since it last wrote.
type progress struct {
	counts  Counts
	leftOut map[events.Survey]uint64
	settled uint64
	given   uint64
	first   uint64 // of the event stream; 0: not looked at
	after   *after // where the event stream has dropped some of the job's; nil: nobody has counted
}

// after is what is left of a job where its event stream has dropped events.
type after struct {
	left   uint64 // events of it that still stand there, and were given to nobody
	inHand uint64 // and that were given, and are not settled
}

func (p progress) empty() bool { return p.counts == (Counts{}) && len(p.leftOut) == 0 }

// report takes progress in. It says whether that changed anything.
func (r *Record) report(p progress, at time.Time) bool {
	missed := r.missed(p)
	settled := min(max(r.Settled, p.settled), r.End)
	given := min(max(r.Given, p.given), r.End)
	if p.empty() && settled == r.Settled && given == r.Given && missed == 0 {
		return false
	}
	r.counted(p)
	r.Gone += r.gone(missed, p.after)
	r.Settled, r.Updated = settled, at.UTC()
	if r.Given = given; missed > 0 {
		r.Given = max(given, min(p.first-1, r.End)) // counted once
	}
	return true
}

// gone is how many of the job's events are among the sequences that the event stream
// has dropped, at most: the others of them stand there still, or are accounted for.
// Other surveys' sequences between them are none of the job's.
func (r *Record) gone(missed uint64, a *after) uint64 {
	if a == nil {
		return missed
	}
	known := r.Counts.Sum() + r.Gone + a.left + a.inHand
	return min(missed, r.Events-min(known, r.Events))
}

func (r *Record) counted(p progress) {
	r.Counts.add(p.counts)
	for survey, seq := range p.leftOut {
		if r.LeftOut == nil {
			r.LeftOut = map[events.Survey]uint64{}
		}
		if old, there := r.LeftOut[survey]; there || len(r.LeftOut) < maxLeftOut {
			r.LeftOut[survey] = seq
			if there {
				r.LeftOut[survey] = min(old, seq)
			}
		}
	}
}

// missed is how many sequences the event stream has dropped that had not been given
// to anybody when that was last looked at, at most: some may have been given since.
func (r *Record) missed(p progress) uint64 {
	from, to := max(r.Given+1, r.Start), min(p.first, r.End+1)
	if p.first == 0 || to <= from {
		return 0
	}
	return to - from
}
