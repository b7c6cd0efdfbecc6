package deliverylog

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/popsee/webhooks/events"
)

// settledKey is what one record of settlements has in common.
type settledKey struct {
	kind   Kind
	survey events.Survey
}

// settled gathers the sequences of one record until the buffers are emptied.
type settled struct {
	since time.Time
	runs  []Run // nearly ascending: many goroutines settle at once
}

// Costs in the buffer, in bytes, roughly: of a run, and of a new record.
const (
	runCost     = 16
	settledCost = 160
)

// add takes one sequence in, and says what it cost.
func (s *settled) add(seq uint64) int {
	if n := len(s.runs); n > 0 && s.runs[n-1].To+1 == seq {
		s.runs[n-1].To = seq
		return 0
	}
	s.runs = append(s.runs, Run{seq, seq})
	return runCost
}

// lines divides the runs among as many records as they take.
func (s *settled) lines() iter.Seq[[]Run] { return slices.Chunk(merge(s.runs), maxRuns) }

// merge sorts runs and joins those that touch.
func merge(runs []Run) []Run {
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.From, b.From) })
	out := runs[:0]
	for _, r := range runs {
		if n := len(out); n > 0 && r.From <= out[n-1].To+1 {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}
