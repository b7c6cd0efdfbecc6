package audit

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/popsee/webhooks/consumer/deliverylog"
)

// MostSequences is the longest range that one audit takes: a quarter of a GiB of
// memory.
const MostSequences = 128 << 20

// ledger gathers what is known of a range of sequences.
type ledger struct {
	within   deliverylog.Run
	evidence []evidence    // of within.From and those after it
	proven   int64         // sequences with evidence of how they ended, for progress
	recorded uint64        // the lowest sequence that the log tells of; 0: none
	drops    map[drop]bool // what the log counted as lost; one that is told twice counts once
}

func newLedger(within deliverylog.Run) *ledger {
	return &ledger{within: within, evidence: make([]evidence, within.Len()), drops: map[drop]bool{}}
}

// has says whether a sequence is within the range.
func (l *ledger) has(seq uint64) bool { return l.within.From <= seq && seq <= l.within.To }

// note adds evidence of one sequence; one out of the range is passed over.
func (l *ledger) note(seq uint64, e evidence) {
	if !l.has(seq) {
		return
	}
	at := &l.evidence[seq-l.within.From]
	if *at&^(stored|promised) == 0 && e&^(stored|promised) != 0 {
		l.proven++
	}
	*at |= e
}

// noteRuns adds what the log tells of many sequences.
func (l *ledger) noteRuns(runs []deliverylog.Run, e evidence) {
	for _, r := range runs {
		from, to := max(r.From, l.within.From), min(r.To, l.within.To)
		if from > to {
			continue
		}
		if l.recorded == 0 || from < l.recorded {
			l.recorded = from
		}
		for seq := from; e != 0 && seq <= to; seq++ {
			l.note(seq, e)
		}
	}
}

// drop is so many records that the log lost, of events somewhere within a run.
type drop struct {
	within  deliverylog.Run
	records uint64
	at      time.Time
}

// lostRecords notes what the log counted as lost.
func (l *ledger) lostRecords(r deliverylog.Record) {
	for _, run := range r.Runs {
		if run.To >= l.within.From && run.From <= l.within.To {
			l.drops[drop{run, r.Records, r.At}] = true
		}
	}
}

// maxRuns is how many runs of sequences a report names for each fate; counts are
// always whole.
const maxRuns = 1000

// close judges every sequence. What the log counted as lost may be why an event that
// still stands there is unproven. It says nothing of one that has left: the server
// moves the floor over what leaves unsettled, so who is below it may never have been
// sent; and in the same overload a log drops records and a stream its oldest events.
func (l *ledger) close(at edges) (counts [fates]uint64, runs map[Fate][]deliverylog.Run) {
	runs = map[Fate][]deliverylog.Run{}
	explain := explainer(slices.Collect(maps.Keys(l.drops)))
	for i, e := range l.evidence {
		seq := l.within.From + uint64(i) //nolint:gosec // never negative
		fate := judge(e, seq, at)
		if fate == Unproven && explain(seq) {
			fate = RecordDropped
		}
		counts[fate]++
		if fate >= RecordDropped {
			runs[fate] = appendSeq(runs[fate], seq)
		}
	}
	return counts, runs
}

// appendSeq makes a sequence part of the last run, or begins another.
func appendSeq(runs []deliverylog.Run, seq uint64) []deliverylog.Run {
	n := len(runs)
	switch {
	case n > 0 && runs[n-1].To+1 == seq:
		runs[n-1].To = seq
	case n < maxRuns:
		runs = append(runs, deliverylog.Run{From: seq, To: seq})
	}
	return runs
}

// explainer says of sequences, asked for in ascending order, whether a counted
// loss may be why nothing is known of them. Each lost record explains one: those
// whose run ends first are used first, so that as many as possible are explained,
// and no more. Which ones these are, nobody can know.
func explainer(drops []drop) func(seq uint64) bool {
	slices.SortFunc(drops, func(a, b drop) int { return cmp.Compare(a.within.From, b.within.From) })
	var open openDrops
	return func(seq uint64) bool {
		for len(drops) > 0 && drops[0].within.From <= seq {
			heap.Push(&open, drops[0])
			drops = drops[1:]
		}
		for len(open) > 0 && (open[0].within.To < seq || open[0].records == 0) {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			return false
		}
		open[0].records--
		return true
	}
}

// openDrops is a heap by where runs end.
type openDrops []drop

// Len implements heap.Interface.
func (o openDrops) Len() int { return len(o) }

// Less implements heap.Interface.
func (o openDrops) Less(i, j int) bool { return o[i].within.To < o[j].within.To }

// Swap implements heap.Interface.
func (o openDrops) Swap(i, j int) { o[i], o[j] = o[j], o[i] }

// Push implements heap.Interface.
func (o *openDrops) Push(x any) { *o = append(*o, x.(drop)) } //nolint:forcetypeassert // nothing else is pushed

// Pop implements heap.Interface.
func (o *openDrops) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}
