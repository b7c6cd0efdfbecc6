package health

import (
	"context"
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
)

// Board is the bucket in memory. It is safe for concurrent use.
type Board struct {
	js      jetstream.JetStream
	bucket  string
	stream  string // the event stream
	log     zerolog.Logger
	records sync.Map // events.Survey -> known
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// Open reads the bucket and goes on watching it. It returns when all that is in
// the bucket is in memory, or fails; ctx bounds that and nothing else.
func Open(ctx context.Context, js jetstream.JetStream, names events.Names, log zerolog.Logger) (*Board, error) {
	b := &Board{js: js, bucket: names.Health(), stream: names.Stream(), log: log}
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
	return v.(known).Record, true
}

// known is a record in memory.
type known struct {
	Record
	revision uint64
}

// All lists the surveys that have a record.
func (b *Board) All() iter.Seq[events.Survey] {
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
	if there != nil {
		there[survey] = true
	} else if k, ok := b.records.Load(survey); ok && k.(known).revision > e.Revision() {
		return // older than what this replica has written itself
	}
	b.records.Store(survey, known{r, e.Revision()})
}

func (b *Board) forgetAllBut(there map[events.Survey]bool) {
	b.records.Range(func(k, _ any) bool {
		if !there[k.(events.Survey)] {
			b.records.Delete(k)
		}
		return true
	})
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
