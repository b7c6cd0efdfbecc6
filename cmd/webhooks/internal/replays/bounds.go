package replays

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

// bounds are what a replay is about, before it is started.
type bounds struct {
	reach

	start, end uint64
	notes      []string // for whoever starts it
}

// bounds works out from where to where.
func (d *Desk) bounds(ctx context.Context, since, until Point, now time.Time) (bounds, error) {
	at, err := asked(ctx, d.reach)
	if err != nil {
		return bounds{}, err
	}
	if err := Meant(since, until, at.last, now); err != nil {
		return bounds{}, err
	}
	start, end, err := d.Sequences(ctx, since, until, at.first, at.settled)
	if err != nil {
		return bounds{}, err
	}
	return at.bounds(since, until, start, end)
}

// bounds takes away from what was asked for what cannot be sent, and says so.
func (st reach) bounds(since, until Point, start, end uint64) (bounds, error) {
	b := bounds{reach: st, start: start, end: end}
	if end < start && until.Text != "" {
		return b, refuse(Backwards, "", "there is no event between %s %s and %s %s", since.Name, since.Text, until.Name, until.Text)
	}
	if b.start < st.first {
		b.note("sequences %d to %d have left the event stream: they cannot be sent again", b.start, st.first-1)
		b.start = st.first
	}
	if b.end > st.settled {
		b.note("sequences from %d on are not settled yet: they are delivered as they are, and not part of the replay", st.settled+1)
		b.end = st.settled
	}
	if b.end < b.start {
		return b, refuse(Nothing, "", "there is nothing to send again since %s: the event stream has sequences %d to %d, of which those up to %d are settled", since.Text, st.first, st.last, st.settled)
	}
	return b, nil
}

func (b *bounds) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// reach looks where things stand. While the live consumer has stopped by itself
// nobody knows what is settled, and nothing is replayed.
func (d *Desk) reach(ctx context.Context) (reach, error) {
	alarm, err := mark.Check(ctx, d.js, layout.Layout{Names: d.names})
	if err != nil {
		return reach{}, err
	}
	if alarm != nil {
		return reach{}, alarm
	}
	stream, err := d.js.Stream(ctx, d.names.Stream())
	if err != nil {
		return reach{}, fmt.Errorf("look at stream %s: %w", d.names.Stream(), err)
	}
	info := stream.CachedInfo()
	st := reach{created: layout.Born(info), first: info.State.FirstSeq, last: info.State.LastSeq, settled: info.State.LastSeq}
	if info.State.Msgs == 0 {
		return st, refuse(Empty, "", "the event stream is empty: there is nothing to send again")
	}
	cons, err := stream.Consumer(ctx, d.names.Consumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		st.settled, err = d.settledWithout(ctx, st.last)
		return st, err
	}
	if err != nil {
		return st, fmt.Errorf("look at consumer %s: %w", d.names.Consumer(), err)
	}
	if live := cons.CachedInfo(); live.NumPending > 0 || live.NumAckPending > 0 {
		st.settled = min(live.AckFloor.Stream, st.last)
	}
	return st, nil
}

// settledWithout is up to where everything is settled while there is no live consumer:
// a service that was never started begins with new events, and any other makes the
// consumer anew behind the mark.
func (d *Desk) settledWithout(ctx context.Context, last uint64) (uint64, error) {
	p, known, err := mark.Read(ctx, d.js, d.names)
	if err != nil || !known {
		return last, err
	}
	return min(p.Floor, last), nil
}
