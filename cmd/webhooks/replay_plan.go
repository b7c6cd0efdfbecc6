package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
)

// reach is where the event stream and the live consumer stand.
type reach struct {
	created     time.Time
	first, last uint64
	settled     uint64 // every event up to here was delivered, parked or let go
}

// plan is what a replay is about, before it is started.
type plan struct {
	reach

	start, end uint64
	notes      []string // for whoever starts it
}

// plan works out a replay's bounds.
func (s *session) plan(w *world, since, until point, now time.Time) (plan, error) {
	at, err := asked(w.ctx, s.reach)
	if err != nil {
		return plan{}, err
	}
	if err := meant(since, until, at.last, now, "a replay sends what is stored; what is published later is delivered anyway"); err != nil {
		return plan{}, err
	}
	start, end, err := s.sequences(w, since, until, at.first, at.settled)
	if err != nil {
		return plan{}, err
	}
	return at.plan(since, until, start, end)
}

// plan takes away from what was asked for what cannot be sent, and says so.
func (st reach) plan(since, until point, start, end uint64) (plan, error) {
	p := plan{reach: st, start: start, end: end}
	if end < start && until.text != "" {
		return p, usage{withHint("--since is the earlier one", "there is no event between --since %s and --until %s", since.text, until.text)}
	}
	if p.start < st.first {
		p.note("sequences %d to %d have left the event stream: they cannot be sent again", p.start, st.first-1)
		p.start = st.first
	}
	if p.end > st.settled {
		p.note("sequences from %d on are not settled yet: they are delivered as they are, and not part of the replay", st.settled+1)
		p.end = st.settled
	}
	if p.end < p.start {
		return p, withHint("see where things stand with: webhooks status",
			"there is nothing to send again since %s: the event stream has sequences %d to %d, of which those up to %d are settled", since.text, st.first, st.last, st.settled)
	}
	return p, nil
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *plan) tell(w *world) {
	for _, n := range p.notes {
		w.printf("%s\n", n)
	}
}

// reach looks where things stand. While the live consumer has stopped by itself
// nobody knows what is settled, and nothing is replayed.
func (s *session) reach(ctx context.Context) (reach, error) {
	alarm, err := mark.Check(ctx, s.js, layout.Layout{Names: s.names})
	if err != nil {
		return reach{}, err
	}
	if alarm != nil {
		return reach{}, alarm
	}
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return reach{}, fmt.Errorf("look at stream %s: %w", s.names.Stream(), err)
	}
	info := stream.CachedInfo()
	st := reach{created: layout.Born(info), first: info.State.FirstSeq, last: info.State.LastSeq, settled: info.State.LastSeq}
	if info.State.Msgs == 0 {
		return st, withHint("publish one with: webhooks publish response.json", "the event stream is empty: there is nothing to send again")
	}
	cons, err := stream.Consumer(ctx, s.names.Consumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return st, nil // the service was never started: it will begin with new events
	}
	if err != nil {
		return st, fmt.Errorf("look at consumer %s: %w", s.names.Consumer(), err)
	}
	if live := cons.CachedInfo(); live.NumPending > 0 || live.NumAckPending > 0 {
		st.settled = min(live.AckFloor.Stream, st.last)
	}
	return st, nil
}
