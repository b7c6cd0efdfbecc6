package replays

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/moments"
	"github.com/popsee/webhooks/consumer/replay"
)

// Point is a place in the event stream as somebody gave it: a sequence or a moment.
type Point struct {
	Name string    // what it is called where it was given: "--since"
	Text string    // as it was given; empty when it was not
	Seq  uint64    // 0: a moment was given
	At   time.Time // the moment
}

// ParsePoint reads a sequence, or what [moments.Parse] can.
func ParsePoint(name, text string, now time.Time, local *time.Location) (Point, error) {
	p := Point{Name: name, Text: text}
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seq, err := strconv.ParseUint(text, 10, 63)
		if err != nil || seq == 0 {
			return p, refuse(BadPoint, "", "%s is no sequence: they begin at 1", text)
		}
		p.Seq = seq
		return p, nil
	}
	at, err := moments.Parse(text, now, local)
	if err != nil {
		return p, refuse(BadPoint, "", "%s, or a sequence of the event stream", err)
	}
	p.At = at
	return p, nil
}

// IsZero says that no place was given.
func (p Point) IsZero() bool { return p.Text == "" }

// Meant refuses what cannot be meant of an event stream that ends at last.
func Meant(since, until Point, last uint64, now time.Time) error {
	for _, p := range []Point{since, until} {
		switch {
		case p.Seq > last:
			return refuse(Beyond, "", "%s %d is beyond the end of the event stream, which is at sequence %d", p.Name, p.Seq, last)
		case p.At.After(now):
			return refuse(Future, "", "%s %s lies in the future", p.Name, p.Text)
		}
	}
	if since.Seq > 0 && until.Seq > 0 && until.Seq < since.Seq || !since.At.IsZero() && !until.At.IsZero() && !since.At.Before(until.At) {
		return refuse(Backwards, "", "%s %s is before %s %s", until.Name, until.Text, since.Name, since.Text)
	}
	return nil
}

// Sequences are the ends of a stretch of the event stream, both included; first and
// last where none was given. A moment given as its end is the first that does not
// belong to it.
func (d *Desk) Sequences(ctx context.Context, since, until Point, first, last uint64) (start, end uint64, err error) {
	if start, err = d.sequence(ctx, since, first); err != nil {
		return 0, 0, err
	}
	if end, err = d.sequence(ctx, until, last+1); err != nil {
		return 0, 0, err
	}
	if until.Seq == 0 {
		end--
	}
	return start, end, nil
}

// sequence is the first sequence at or after a point.
func (d *Desk) sequence(ctx context.Context, p Point, otherwise uint64) (uint64, error) {
	switch {
	case p.IsZero():
		return otherwise, nil
	case p.Seq > 0:
		return p.Seq, nil
	default:
		return asked(ctx, func(ctx context.Context) (uint64, error) { return replay.At(ctx, d.js, d.names, p.At) })
	}
}
