package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

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

// meant refuses what cannot be meant of an event stream that ends at last. later says
// what becomes of events that are not published yet.
func meant(since, until point, last uint64, now time.Time, later string) error {
	for _, p := range []struct {
		flag string
		point
	}{{"--since", since}, {"--until", until}} {
		switch {
		case p.seq > last:
			return usage{withHint("see where it stands with: webhooks status", "%s %d is beyond the end of the event stream, which is at sequence %d", p.flag, p.seq, last)}
		case p.at.After(now):
			return usage{withHint(later, "%s %s lies in the future", p.flag, p.text)}
		}
	}
	if since.seq > 0 && until.seq > 0 && until.seq < since.seq || !since.at.IsZero() && !until.at.IsZero() && !since.at.Before(until.at) {
		return usage{withHint("--since is the earlier one", "--until %s is before --since %s", until.text, since.text)}
	}
	return nil
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

// sequences are the ends of a stretch of the event stream, both included. A moment
// given as its end is the first that does not belong to it.
func (s *session) sequences(w *world, since, until point, first, last uint64) (start, end uint64, err error) {
	if start, err = s.sequence(w, since, first); err != nil {
		return 0, 0, err
	}
	if end, err = s.sequence(w, until, last+1); err != nil {
		return 0, 0, err
	}
	if until.seq == 0 {
		end--
	}
	return start, end, nil
}
