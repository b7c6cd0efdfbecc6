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

	"github.com/popsee/webhooks/consumer/internal/quiet"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	lookEvery   = 5 * time.Second
	lookTime    = 3 * time.Second
	rewatchWait = time.Second // after a watch that could not be opened
)

// Options are the choices of a [Board]. The zero value works.
type Options struct {
	LookEvery time.Duration  // how often the bucket is asked whether it is still the one that is watched; 0 means 5 s
	Log       zerolog.Logger // the zero logger is silent
	Panics    *panics.Guard  // counts and tells of panics; nil only catches them
}

func (o Options) lookEvery() time.Duration {
	if o.LookEvery > 0 {
		return o.LookEvery
	}
	return lookEvery
}

// resyncEvery is how often everything is read anew, for a watch can go blind: a
// minute, unless the bucket is looked at more seldom than it is by default.
func (o Options) resyncEvery() time.Duration { return 12 * o.lookEvery() }

// Board is the bucket in memory. It is safe for concurrent use.
type Board struct {
	js       jetstream.JetStream
	bucket   string
	stream   string // the event stream
	o        Options
	quiet    *quiet.Log // trouble that lasts
	learning sync.Mutex // one comes to know something at a time
	records  sync.Map   // events.Survey -> known
	trouble  error      // why the last watch ended; owned by run until it has returned
	created  time.Time  // of the bucket that was watched last; likewise
	cleanAt  time.Time  // old markers are removed then, see clean.go; likewise
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// Open reads the bucket and goes on watching it. It returns when all that is in
// the bucket is in memory; ctx bounds that and nothing else. A bucket that is not
// there is an error at once, anything else is tried again until ctx ends.
func Open(ctx context.Context, js jetstream.JetStream, names events.Names, o Options) (*Board, error) {
	b := &Board{js: js, bucket: names.Health(), stream: names.Stream(), o: o, quiet: quiet.New(o.Log)}
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
		if b.trouble != nil {
			return nil, b.trouble
		}
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
	if !ok || v.(known).gone {
		return Record{}, false
	}
	return v.(known).Record, true
}

// All lists the surveys that have a record.
func (b *Board) All() iter.Seq[events.Survey] {
	return func(yield func(events.Survey) bool) {
		b.records.Range(func(k, v any) bool { return v.(known).gone || yield(k.(events.Survey)) })
	}
}

// run watches, and begins anew every minute and whenever the watch ends.
func (b *Board) run(ctx context.Context, first chan<- error) {
	for {
		err := b.o.Panics.Try(panics.PlaceHealth, func() error { return b.watch(ctx, func() { tell(first, nil) }) })
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			tell(first, err)
		}
		if ctx.Err() != nil {
			return
		}
		if b.trouble = err; err != nil {
			b.o.Log.Debug().Err(err).Msg("the health of endpoints could not be watched")
			wait.For(ctx, rewatchWait)
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
	if err := b.restore(ctx, kv); err != nil {
		return err
	}
	p := &pass{began: time.Now(), there: map[events.Survey]bool{}}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", b.bucket, err)
	}
	defer func() { _ = w.Stop() }() // its context ends it as well
	resync := time.NewTimer(b.o.resyncEvery())
	defer resync.Stop()
	look := time.NewTicker(b.o.lookEvery())
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-resync.C:
			return nil
		case <-look.C:
			if created, err := createdAt(ctx, kv); err == nil && !created.Equal(b.created) || errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch was closed")
			case e == nil: // all that was there has come
				b.forgetAllBut(p)
				b.cleanSoon(ctx, p.old)
				p = nil
				ready()
			default:
				b.apply(e, p)
			}
		}
	}
}

// restore writes what is known into a bucket that was made anew: what is owed to an
// endpoint stands nowhere else. Every replica does; the first to come wins.
func (b *Board) restore(ctx context.Context, kv jetstream.KeyValue) error {
	created, err := createdAt(ctx, kv)
	if err != nil {
		return fmt.Errorf("look at bucket %s: %w", b.bucket, err)
	}
	if !b.created.IsZero() && !created.Equal(b.created) {
		n := 0
		for survey := range b.All() {
			r, known := b.Of(survey)
			if !known {
				continue
			}
			if _, err := kv.Create(ctx, string(survey), encode(r)); err != nil && !layout.Conflict(err) {
				return fmt.Errorf("write the health of survey %s again: %w", survey, err)
			}
			n++
		}
		b.o.Log.Warn().Str("bucket", b.bucket).Int("records", n).Msg("the bucket was made anew; what was known of failing endpoints is in it again")
	}
	b.created = created
	return nil
}

// createdAt tells a bucket from one that was made anew under its name.
func createdAt(ctx context.Context, kv jetstream.KeyValue) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	status, err := kv.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	s, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, nil // by a client of another kind, which says nothing of it
	}
	return s.StreamInfo().Created, nil
}

// pass is the reading of all that is in the bucket, at the beginning of a watch.
type pass struct {
	began time.Time
	there map[events.Survey]bool
	old   []marker // some of those that may be removed, the oldest
}

// before says that something was known when the pass began. What it brings is newer, or
// is of a bucket that was made anew or restored, whose revisions begin anew; but not
// newer than what this replica has written since.
func (p *pass) before(k known) bool { return p != nil && !k.learned.After(p.began) }

func (b *Board) apply(e jetstream.KeyValueEntry, p *pass) {
	survey := events.Survey(e.Key())
	var r Record
	err := b.o.Panics.Try(panics.PlaceHealth, func() (err error) {
		r, err = decode(e.Value())
		return err
	})
	if err != nil && e.Operation() == jetstream.KeyValuePut {
		b.quiet.Warn(fmt.Errorf("survey %s: %w", e.Key(), err), "what is known of an endpoint cannot be read and is left alone: it counts as healthy here")
	}
	k := known{Record: r, revision: e.Revision(), gone: e.Operation() != jetstream.KeyValuePut || err != nil}
	if p != nil {
		p.there[survey] = true
		p.note(e)
	}
	b.learn(survey, k, p)
}

// known is a record in memory.
type known struct {
	Record
	revision uint64 // of the record, or of the last one before it went
	gone     bool
	learned  time.Time
}

// learn takes in what is newer than what is known: this replica writes, from
// several goroutines, and hears of its own writes and of others' later. p is the pass
// that has brought it; nil: none has.
func (b *Board) learn(survey events.Survey, k known, p *pass) {
	b.learning.Lock()
	defer b.learning.Unlock()
	v, found := b.records.Load(survey)
	old, _ := v.(known)
	older := old.revision > k.revision || old.gone && old.revision == k.revision
	if older && !p.before(old) {
		return
	}
	if k.gone && (!found || old.gone) && p.before(old) {
		// Nothing older is on its way here, but what this replica is writing at the moment:
		// that would count until the next pass.
		b.records.Delete(survey)
		return
	}
	k.learned = time.Now()
	b.records.Store(survey, k)
}

// forgetAllBut forgets what the pass has not seen.
func (b *Board) forgetAllBut(p *pass) {
	b.learning.Lock()
	defer b.learning.Unlock()
	b.records.Range(func(k, v any) bool {
		if !p.there[k.(events.Survey)] && p.before(v.(known)) {
			b.records.Delete(k)
		}
		return true
	})
}
