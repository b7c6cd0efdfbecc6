package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

const changeTries = 8 // a compare-and-set that is lost so often is somebody else's turn

// Failure is one failure of an endpoint that fails as a whole.
type Failure struct {
	At        time.Time
	Reason    string
	NextProbe time.Time
	Waiting   int // events in its lane, as far as known
}

// Failed writes one more failure.
func (b *Board) Failed(ctx context.Context, survey events.Survey, f Failure) error {
	from := b.from(ctx, survey)
	return b.change(ctx, survey, func(r *Record) {
		if !r.Failing() {
			r.Since, r.From, r.Failures = f.At, from, 0
		}
		r.Failures++
		r.Reason, r.LastFailure, r.NextProbe, r.Waiting = f.Reason, f.At, f.NextProbe, f.Waiting
		r.Recovered = time.Time{}
	})
}

// Works ends the failing. remember says since when, for events of before that
// still wait; zero when there is nothing to remember.
func (b *Board) Works(ctx context.Context, survey events.Survey, remember time.Time) error {
	return b.change(ctx, survey, func(r *Record) { r.works(remember) })
}

// Rests ends the failing of an endpoint for which nothing waits any more: nobody would
// find out that it works. What is known of it since that last failure stays.
func (b *Board) Rests(ctx context.Context, survey events.Survey, last time.Time) error {
	return b.change(ctx, survey, func(r *Record) {
		if r.Disabled == nil && !r.LastFailure.After(last) {
			r.works(time.Time{})
		}
	})
}

// Restart begins anew with an endpoint that is another one now: it is no longer
// disabled, and if it fails it does so since now.
func (b *Board) Restart(ctx context.Context, survey events.Survey, at time.Time) error {
	return b.change(ctx, survey, func(r *Record) {
		r.Disabled = nil
		if r.Failing() {
			r.Since, r.Failures, r.NextProbe = at, 0, at
		}
	})
}

// Disable says that nothing is to be sent any more. reason is the last failure's.
func (b *Board) Disable(ctx context.Context, survey events.Survey, d Disabled, reason string) error {
	from := b.from(ctx, survey)
	return b.change(ctx, survey, func(r *Record) {
		if !r.Failing() {
			r.Since, r.From = d.At, from
		}
		r.Failures++
		r.Disabled, r.Reason, r.LastFailure, r.NextProbe, r.Recovered = &d, reason, d.At, time.Time{}, time.Time{}
	})
}

// Stream is where the event stream stands.
type Stream struct {
	At          time.Time // when that is, by the server's clock; earlier for a promise that goes on from one that has lapsed
	First, Last uint64
	Born        time.Time // when its sequences began to count
}

// Owe makes a promise. One that stands is only prolonged: what was before it has been
// brought, or a person has waived it. What is before the first of the event stream
// cannot be promised, and what begins behind its end was noted of another stream. It
// returns the record as it certainly stands; after an error nothing is certain.
func (b *Board) Owe(ctx context.Context, survey events.Survey, p Promise, stream Stream) (Record, error) {
	return b.write(ctx, survey, func(r *Record) {
		r.forget(stream, p.From)
		if r.Disabled != nil && r.From <= stream.Last+1 {
			p.From = max(p.From, r.From) // what was before that has been brought, or waived, since the promise was decided
		}
		r.promise(p, stream.At)
		r.raise(stream.First)
	})
}

// Confirm returns the record as it certainly stands, whatever this replica has
// heard of it: somebody's write whose answer was lost may be in it.
func (b *Board) Confirm(ctx context.Context, survey events.Survey) (Record, error) {
	return b.write(ctx, survey, func(*Record) {})
}

// Brought says that everything owed before a sequence is in the lane, or a dead
// letter.
func (b *Board) Brought(ctx context.Context, survey events.Survey, to uint64) error {
	return b.change(ctx, survey, func(r *Record) {
		if r.OwedFrom != 0 {
			r.OwedFrom = max(r.OwedFrom, to)
		}
		if r.Disabled != nil {
			r.From = max(r.From, to) // its promise reaches back to there
		}
	})
}

// Paid says that everything of the first promise, as it stood, has been brought.
// When more has been promised meanwhile, nothing changes.
func (b *Board) Paid(ctx context.Context, survey events.Survey, until time.Time) error {
	return b.change(ctx, survey, func(r *Record) {
		if r.OwedFrom != 0 && !r.OwedUntil.After(until) {
			r.setPromises(r.OwedNext)
		}
	})
}

// Forget forgets everything about an endpoint: it is not there any more.
func (b *Board) Forget(ctx context.Context, survey events.Survey) error {
	return b.change(ctx, survey, func(r *Record) { *r = Record{} })
}

// from is the sequence from which on nothing has been delivered when an endpoint
// begins to fail now: the one after the newest event. 0 where it cannot be known.
func (b *Board) from(ctx context.Context, survey events.Survey) uint64 {
	if r, _ := b.Of(survey); r.Failing() {
		return 0 // it was noted when that began
	}
	stream, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return 0
	}
	return stream.CachedInfo().State.LastSeq + 1
}

func (b *Board) change(ctx context.Context, survey events.Survey, f func(r *Record)) error {
	_, err := b.write(ctx, survey, f)
	return err
}

// write is a compare-and-set on one record, with the bucket's own state and not
// the memory's; a record that then says nothing is removed. It returns what was
// written.
func (b *Board) write(ctx context.Context, survey events.Survey, f func(r *Record)) (r Record, err error) {
	kv, err := b.js.KeyValue(ctx, b.bucket)
	if err != nil {
		return r, fmt.Errorf("open bucket %s: %w", b.bucket, err)
	}
	for range changeTries {
		r, err = b.try(ctx, kv, survey, f)
		if !layout.Conflict(err) {
			break
		}
	}
	if err != nil {
		return r, fmt.Errorf("write the health of survey %s: %w", survey, err)
	}
	return r, nil
}

func (b *Board) try(ctx context.Context, kv jetstream.KeyValue, survey events.Survey, f func(*Record)) (r Record, err error) {
	var revision uint64
	e, err := kv.Get(ctx, string(survey))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return r, err
	default:
		revision = e.Revision()
		if r, err = decode(e.Value()); err != nil {
			return r, err // a newer version's: left alone
		}
	}
	f(&r)
	switch {
	case r.nothing() && revision == 0:
	case r.nothing():
		err = kv.Delete(ctx, string(survey), jetstream.LastRevision(revision))
	case revision == 0:
		revision, err = kv.Create(ctx, string(survey), encode(r))
	default:
		revision, err = kv.Update(ctx, string(survey), encode(r), revision)
	}
	if err != nil && (!r.nothing() || !errors.Is(err, jetstream.ErrKeyNotFound)) {
		return r, err
	}
	if revision > 0 {
		b.learn(survey, known{Record: r, revision: revision, gone: r.nothing()}, nil) // it need not wait for its own write
	}
	return r, nil
}
