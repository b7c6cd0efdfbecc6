package deliverylog

import (
	"bytes"
	"slices"
	"time"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Filter says which records are meant. Its zero value means all of them.
type Filter struct {
	Survey  events.Survey    // only this survey's; empty means any
	EventID string           // only attempts of this event; empty means any
	Replay  string           // only attempts of the replay with this id; empty means any
	Kinds   []Kind           // only these; empty means any
	Reason  delivery.Reason  // only attempts that ended so; empty means any
	Verdict delivery.Verdict // only attempts judged so; 0 means any
	Failed  bool             // only attempts that were not delivered
	Since   time.Time        // then or later; zero means from the beginning, or from now on when following
	Until   time.Time        // before; zero means up to now, or without end when following
	Source  Run              // only records of these sequences of the event stream; To 0 means any
	Limit   int              // at most so many; 0 means no limit
}

// wants judges one record. Dropped records pass every filter of what an attempt
// or its survey was, because nobody knows what they were.
func (f *Filter) wants(r *Record) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, r.Kind) || !f.inTime(r) || !f.inSource(r.Runs) {
		return false
	}
	return r.Kind == KindDropped || f.wantsEvent(r)
}

func (f *Filter) wantsEvent(r *Record) bool {
	switch {
	case f.Survey != "" && r.Survey != f.Survey:
		return false
	case r.Kind != KindAttempt:
		return f.EventID == "" && f.Replay == "" && f.Reason == "" && f.Verdict == 0 && !f.Failed
	case f.EventID != "" && r.EventID != f.EventID, f.Replay != "" && r.Replay != f.Replay:
		return false
	case f.Reason != "" && r.Reason != f.Reason, f.Verdict != 0 && r.Verdict != f.Verdict:
		return false
	default:
		return !f.Failed || r.Verdict != delivery.Delivered
	}
}

func (f *Filter) inTime(r *Record) bool {
	last := r.At
	if r.Kind == KindDropped {
		last = r.Until
	}
	return !last.Before(f.Since) && (f.Until.IsZero() || r.At.Before(f.Until))
}

func (f *Filter) inSource(runs []Run) bool {
	return f.Source.To == 0 || slices.ContainsFunc(runs, func(r Run) bool {
		return r.From <= f.Source.To && f.Source.From <= r.To
	})
}

// quick passes over lines that cannot be meant without decoding them: a survey's
// shard holds many others.
type quick [][]byte

func (f *Filter) quick() quick {
	var q quick
	if f.Survey != "" {
		q = append(q, appendQuoted(nil, string(f.Survey), maxText))
	}
	if f.EventID != "" {
		q = append(q, appendQuoted(nil, f.EventID, maxText))
	}
	if f.Replay != "" {
		q = append(q, appendQuoted(nil, f.Replay, maxText))
	}
	return q
}

func (q quick) mayWant(text []byte) bool {
	for _, needle := range q {
		if !bytes.Contains(text, needle) {
			return bytes.HasPrefix(text, []byte(`{"kind":"dropped"`))
		}
	}
	return true
}
