package backup

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

// rounds is how often lanes, health and dead letters are copied before somebody has
// to stop moving events between them by hand.
const rounds = 5

// errRestless says that events went back into the lanes in every round.
var errRestless = errors.New("dead letters were removed or redriven, or endpoints disabled, each time that they were copied")

// custody copies where events are that the live consumer has handed on; see the
// package's text for the order.
func (t *taker) custody(ctx context.Context, live *standing) ([]Archive, error) {
	waiting, err := t.snapshot(ctx, t.place(t.names.Lanes()))
	if err != nil {
		return nil, err
	}
	l, err := newLate(t.folder(t.names.Lanes()), waiting, live)
	if err != nil {
		return nil, err
	}
	defer l.file.Close()
	for range rounds {
		around, err := t.around(ctx, l)
		if err != nil {
			return nil, err
		}
		if around == nil {
			continue
		}
		if err := l.merge(t.folder(t.names.Lanes())); err != nil {
			return nil, err
		}
		t.late = l.count
		whole, err := examine(ctx, t.folder(t.names.Lanes()), t.place(t.names.Lanes()), t.names.Consumer(), t.progress)
		whole.Born = waiting.Born
		return append([]Archive{whole}, around...), err
	}
	return nil, errRestless
}

// around copies health and dead letters around a look at the lanes. It returns
// nothing when events may have gone back into the lanes unseen meanwhile.
func (t *taker) around(ctx context.Context, l *late) ([]Archive, error) {
	before, err := t.look(ctx, t.names.DeadLetters())
	if err != nil {
		return nil, err
	}
	off, err := t.disabled(ctx)
	if err != nil {
		return nil, err
	}
	ill, err := t.snapshot(ctx, t.place(kv(t.names.Health())))
	if err != nil {
		return nil, err
	}
	if err := l.look(ctx, t); err != nil {
		return nil, err
	}
	dead, err := t.snapshot(ctx, t.place(t.names.DeadLetters()))
	if err != nil {
		return nil, err
	}
	after, err := t.look(ctx, t.names.DeadLetters())
	if err != nil {
		return nil, err
	}
	now, err := t.disabled(ctx)
	if err != nil || gone(before.State, after.State, before.Config.MaxAge, after.TimeStamp) || more(off, now) {
		return nil, err
	}
	return []Archive{ill, dead}, nil
}

// disabled are the endpoints to which nothing is sent: their lanes are emptied at once.
func (t *taker) disabled(ctx context.Context) (map[events.Survey]time.Time, error) {
	off := map[events.Survey]time.Time{}
	for e, err := range health.List(ctx, t.js, t.names) {
		if err != nil {
			return nil, err
		}
		if e.Disabled != nil {
			off[e.Survey] = e.Disabled.At
		}
	}
	return off, nil
}

// more says whether an endpoint was disabled since.
func more(before, now map[events.Survey]time.Time) bool {
	for survey, at := range now {
		if !before[survey].Equal(at) {
			return true
		}
	}
	return false
}

// gone says whether messages left a stream between two looks, other than by their
// age: those at its beginning, if the first one was due.
func gone(before, after jetstream.StreamState, age time.Duration, now time.Time) bool {
	came := after.LastSeq - before.LastSeq
	left := before.Msgs + came - after.Msgs
	if left == 0 {
		return false
	}
	aged := age > 0 && before.Msgs > 0 && now.Sub(before.FirstTime) >= age
	return !aged || after.NumDeleted > before.NumDeleted
}
