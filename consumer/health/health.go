// Package health is what all replicas know of endpoints that do not work.
//
// A record stands in the bucket webhook_health under the survey's id, and only
// while the endpoint is failing. Whoever sees an endpoint fail as a whole writes
// it; every replica then parks its events without trying; the owner of its lane
// probes, and clears it after the first 2xx. Anyone may watch the bucket, to
// tell the survey's owner since when and why:
//
//	{"format":"1","failing_since":"2026-01-31T12:00:00Z","reason":"timeout","failures":7,
//	 "last_failure":"2026-01-31T12:04:10Z","next_probe":"2026-01-31T12:04:50Z"}
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/events"
)

const (
	resyncEvery = time.Minute // a watch can go blind: after a bucket was made anew, for one
	rewatchWait = time.Second // after a watch that could not be opened
	changeTries = 8           // a compare-and-set that is lost so often is somebody else's turn
)

// Record says how an endpoint fails.
type Record struct {
	Format      string    `json:"format"`
	Since       time.Time `json:"failing_since"`
	Reason      string    `json:"reason"` // of the last failure, as in the delivery log
	Failures    int       `json:"failures"`
	LastFailure time.Time `json:"last_failure"`
	NextProbe   time.Time `json:"next_probe,omitzero"`
}

// Board is the bucket in memory. It is safe for concurrent use.
type Board struct {
	js      jetstream.JetStream
	bucket  string
	log     zerolog.Logger
	records sync.Map // events.Survey -> Record
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// Open reads the bucket and goes on watching it. It returns when all that is in
// the bucket is in memory, or fails; ctx bounds that and nothing else.
func Open(ctx context.Context, js jetstream.JetStream, names events.Names, log zerolog.Logger) (*Board, error) {
	b := &Board{js: js, bucket: names.Health(), log: log}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	first := make(chan error, 1)
	b.wg.Go(func() { b.run(watching, first) })
	select {
	case err := <-first:
		if err != nil {
			b.Close()
		}
		return b, err
	case <-ctx.Done():
		b.Close()
		return nil, fmt.Errorf("open bucket %s: %w", b.bucket, context.Cause(ctx))
	}
}

// Close ends the watch.
func (b *Board) Close() {
	b.stop()
	b.wg.Wait()
}

// Of returns a survey's record, from memory; most surveys have none.
func (b *Board) Of(survey events.Survey) (Record, bool) {
	v, ok := b.records.Load(survey)
	if !ok {
		return Record{}, false
	}
	return v.(Record), true
}

// Failing lists the surveys that have a record.
func (b *Board) Failing() iter.Seq[events.Survey] {
	return func(yield func(events.Survey) bool) {
		b.records.Range(func(k, _ any) bool { return yield(k.(events.Survey)) })
	}
}

// run watches, and begins anew every minute and whenever the watch ends.
func (b *Board) run(ctx context.Context, first chan<- error) {
	for {
		err := b.watch(ctx, func() { tell(first, nil) })
		tell(first, err)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.log.Debug().Err(err).Msg("the health of endpoints could not be watched")
			wait(ctx, rewatchWait)
		}
	}
}

func tell(first chan<- error, err error) {
	select {
	case first <- err:
	default:
	}
}

// watch reads everything, forgets what is no longer there, and follows for a
// minute.
func (b *Board) watch(ctx context.Context, ready func()) error {
	kv, err := b.js.KeyValue(ctx, b.bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b.bucket, err)
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", b.bucket, err)
	}
	defer func() { _ = w.Stop() }() // its context ends it as well
	resync := time.NewTimer(resyncEvery)
	defer resync.Stop()
	there := map[events.Survey]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-resync.C:
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch was closed")
			case e == nil: // all that was there has come
				b.forgetAllBut(there)
				there = nil
				ready()
			default:
				b.apply(e, there)
			}
		}
	}
}

func (b *Board) apply(e jetstream.KeyValueEntry, there map[events.Survey]bool) {
	survey := events.Survey(e.Key())
	r, err := decode(e.Value())
	if e.Operation() != jetstream.KeyValuePut || err != nil {
		b.records.Delete(survey)
		return
	}
	b.records.Store(survey, r)
	if there != nil {
		there[survey] = true
	}
}

func (b *Board) forgetAllBut(there map[events.Survey]bool) {
	b.records.Range(func(k, _ any) bool {
		if !there[k.(events.Survey)] {
			b.records.Delete(k)
		}
		return true
	})
}

// Failed writes one more failure of an endpoint that fails as a whole.
func (b *Board) Failed(ctx context.Context, survey events.Survey, reason string, at, nextProbe time.Time) error {
	return b.change(ctx, survey, func(r Record, _ bool) (Record, bool) {
		if r.Since.IsZero() {
			r.Since = at
		}
		r.Failures++
		r.Reason, r.LastFailure, r.NextProbe = reason, at, nextProbe
		return r, true
	})
}

// Clear removes the record: the endpoint works, or is not there any more.
func (b *Board) Clear(ctx context.Context, survey events.Survey) error {
	return b.change(ctx, survey, func(Record, bool) (Record, bool) { return Record{}, false })
}

// change is a compare-and-set on one record, with the bucket's own state and
// not the memory's; f returns what the record becomes, and whether it stays.
func (b *Board) change(ctx context.Context, survey events.Survey, f func(r Record, there bool) (Record, bool)) error {
	kv, err := b.js.KeyValue(ctx, b.bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b.bucket, err)
	}
	for range changeTries {
		err = b.try(ctx, kv, survey, f)
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write the health of survey %s: %w", survey, err)
	}
	return nil
}

func (b *Board) try(ctx context.Context, kv jetstream.KeyValue, survey events.Survey, f func(Record, bool) (Record, bool)) error {
	var r Record
	var revision uint64
	e, err := kv.Get(ctx, string(survey))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return err
	default:
		revision = e.Revision()
		if r, err = decode(e.Value()); err != nil {
			r = Record{} // a newer version's: ours is as true
		}
	}
	next, stays := f(r, revision != 0)
	switch {
	case !stays && revision == 0:
	case !stays:
		err = kv.Delete(ctx, string(survey), jetstream.LastRevision(revision))
	case revision == 0:
		_, err = kv.Create(ctx, string(survey), encode(next))
	default:
		_, err = kv.Update(ctx, string(survey), encode(next), revision)
	}
	if err != nil && (stays || !errors.Is(err, jetstream.ErrKeyNotFound)) {
		return err
	}
	if stays {
		b.records.Store(survey, next) // this replica need not wait for its own write
	} else {
		b.records.Delete(survey)
	}
	return nil
}

func decode(value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return Record{}, fmt.Errorf("read a health record: %w", err)
	}
	if r.Format != events.Format {
		return Record{}, fmt.Errorf("health record of format %.16q, this version reads %s", r.Format, events.Format)
	}
	return r, nil
}

func encode(r Record) []byte {
	r.Format = events.Format
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, numbers and times alone cannot fail
	}
	return b
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
