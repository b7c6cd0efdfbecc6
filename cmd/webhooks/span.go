package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
)

// spot is a place in the event stream given on the command line: a sequence, or a
// moment.
type spot struct {
	when

	seq uint64 // 0: it is a moment, or not given
}

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (s *spot) UnmarshalText(text []byte) error {
	seq, err := strconv.ParseUint(string(text), 10, 64)
	switch {
	case err == nil && seq == 0:
		return errors.New("sequences begin at 1")
	case err == nil:
		s.seq = seq
		return nil
	}
	if err := s.when.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q is neither a sequence nor a time: use 1041, 2h (ago), 2026-01-31, 2026-01-31T12:00:00 (local) or 2026-01-31T12:00:00Z", text)
	}
	if s.After(time.Now()) {
		return fmt.Errorf("%s lies in the future", text)
	}
	return nil
}

func (s spot) given() bool { return s.seq != 0 || !s.IsZero() }

// span is a stretch of the event stream given on the command line.
type span struct {
	Since spot `name:"since" placeholder:"TIME|SEQUENCE" help:"From here on: a sequence, a time, or a duration ago such as 2h; without it from the first event that stands in the stream."`
	Until spot `name:"until" placeholder:"TIME|SEQUENCE" help:"Up to here: a sequence, itself included, or what was published before a time; without it to the last."`
}

// check refuses what is known to be empty without asking anybody.
func (s span) check() error {
	if s.Since.seq != 0 && s.Until.seq != 0 && s.Since.seq > s.Until.seq {
		return usage{withHint("--since is the earlier one", "--until %d lies before --since %d", s.Until.seq, s.Since.seq)}
	}
	return between(s.Since.when, s.Until.when)
}

// sequences finds the span's ends, both included; 0 where none was given.
func (s span) sequences(ctx context.Context, js jetstream.JetStream, stream string) (from, to uint64, err error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, 0, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	last := st.CachedInfo().State.LastSeq
	if from, err = s.Since.sequence(ctx, js, stream, last); err != nil {
		return 0, 0, err
	}
	if to, err = s.Until.sequence(ctx, js, stream, last); err != nil {
		return 0, 0, err
	}
	if s.Until.seq == 0 && s.Until.given() {
		to-- // published before
	}
	switch {
	case max(s.Since.seq, s.Until.seq) > last:
		return 0, 0, usage{withHint("webhooks status shows what there is", "sequence %d lies in the future: the last one of %s is %d", max(s.Since.seq, s.Until.seq), stream, last)}
	case s.Since.given() && from > last, s.Until.given() && to < max(from, 1):
		return 0, 0, usage{withHint("webhooks status shows what there is; give an earlier --since, or a later --until", "nothing was published there")}
	}
	return from, to, nil
}

// sequence is the first event of a moment or after it, or one behind the last.
func (s spot) sequence(ctx context.Context, js jetstream.JetStream, stream string, last uint64) (uint64, error) {
	if s.IsZero() {
		return s.seq, nil
	}
	for m, err := range walk.Stream(ctx, js, stream, walk.Options{Since: s.Time, Page: 1}) {
		return m.Sequence, err
	}
	return last + 1, nil
}
