package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/replay"
)

// point is a place in the event stream as given on the command line: a sequence,
// or what a [when] can be.
type point struct {
	text string // as it was given; empty when it was not
	seq  uint64 // 0: a moment was given
	at   time.Time
}

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (p *point) UnmarshalText(text []byte) error {
	p.text = string(text)
	if p.text != "" && strings.Trim(p.text, "0123456789") == "" {
		seq, err := strconv.ParseUint(p.text, 10, 63)
		if err != nil || seq == 0 {
			return fmt.Errorf("%s is no sequence: they begin at 1", p.text)
		}
		p.seq = seq
		return nil
	}
	var m when
	if err := m.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, or a sequence of the event stream", err)
	}
	p.at = m.Time
	return nil
}

func (p point) isZero() bool { return p.text == "" }

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
	if err := at.check(since, until, now); err != nil {
		return plan{}, err
	}
	start, err := s.sequence(w, since, at.first)
	if err != nil {
		return plan{}, err
	}
	end, err := s.sequence(w, until, at.settled+1)
	if err != nil {
		return plan{}, err
	}
	if until.seq == 0 {
		end-- // a moment is the first that does not belong to it
	}
	return at.plan(since, until, start, end)
}

// sequence is the first sequence at or after a point.
func (s *session) sequence(w *world, p point, otherwise uint64) (uint64, error) {
	switch {
	case p.isZero():
		return otherwise, nil
	case p.seq > 0:
		return p.seq, nil
	default:
		return asked(w.ctx, func(ctx context.Context) (uint64, error) { return replay.At(ctx, s.js, s.names, p.at) })
	}
}

// check refuses what cannot be meant.
func (st reach) check(since, until point, now time.Time) error {
	for _, p := range []struct {
		flag string
		point
	}{{"--since", since}, {"--until", until}} {
		switch {
		case p.seq > st.last:
			return usage{withHint("see where it stands with: webhooks status", "%s %d is beyond the end of the event stream, which is at sequence %d", p.flag, p.seq, st.last)}
		case p.at.After(now):
			return usage{withHint("a replay sends what is stored; what is published later is delivered anyway", "%s %s lies in the future", p.flag, p.text)}
		}
	}
	if since.seq > 0 && until.seq > 0 && until.seq < since.seq || !since.at.IsZero() && !until.at.IsZero() && !since.at.Before(until.at) {
		return usage{withHint("--since is the earlier one", "--until %s is before --since %s", until.text, since.text)}
	}
	return nil
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
