package config

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// How soon a watch that ended begins again: at once for a blip, and never so
// often that a bucket which is away notices.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// passTime is how long a pass may wait for its next entry. Where what it has yet to
// bring vanishes from the bucket while the connection is away, nothing says that it has
// ended. It is longer than the watch itself may need to go on after a lost connection,
// which is 20 s.
const passTime = 30 * time.Second

// run keeps a watch open until ctx ends. The first one reports whether it got
// as far as having everything.
func (s *Store) run(ctx context.Context, opened chan<- error) {
	pause := firstPause
	report := func(err error) {
		if opened != nil {
			opened <- err
			opened = nil
		}
	}
	for {
		err := s.o.Panics.Try(panics.PlaceEndpoints, func() error {
			return s.session(ctx, func() { report(nil); pause = firstPause })
		})
		s.stale()
		if report(err); ctx.Err() != nil {
			return
		}
		s.o.Log.Warn().Err(err).Str("bucket", s.bucket).Dur("pause", pause).Msg("endpoint watch ended; watching again")
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)): // replicas that lost the same bucket do not come back together
		}
		pause = min(2*pause, lastPause)
	}
}

// stale notes that the watch no longer follows the bucket. What is in memory
// stays: better yesterday's endpoint than none.
func (s *Store) stale() {
	st := *s.state.Load()
	st.following = false
	s.know(st)
}

// session is one watch: a pass over everything, a sweep of what the pass did
// not see, and then change after change until something ends it.
func (s *Store) session(ctx context.Context, ready func()) error {
	f := &follower{store: s, reconnects: s.js.Conn().Stats().Reconnects, began: time.Now()}
	if err := f.look(ctx); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	w, err := f.kv.WatchAll(watching)
	if err != nil {
		cancel()
		return fmt.Errorf("watch: %w", err)
	}
	defer stopWatch(cancel, w)
	f.generation = s.table.begin()
	if err := f.pass(ctx, w.Updates()); err != nil {
		return err
	}
	f.sweep()
	f.current(f.began)
	ready()
	return f.follow(ctx, w.Updates())
}

// follower applies one watch to the table. Only session's goroutine uses it.
type follower struct {
	store      *Store
	kv         jetstream.KeyValue
	bucket     bucketState // as it was before the watch began
	seen       uint64      // the bucket's last sequence that the watch is known to have reached
	generation uint32
	reconnects uint64
	began      time.Time
	pending    *look     // a look at the bucket that the watch has not caught up with
	led        time.Time // since when the bucket's leader leads, as far as was looked; zero: there are no others
	counted    time.Time // when the keys were compared
	warned     time.Time // that not all endpoints are in memory
}

// look binds the bucket and notes which one it is. The watch begins after that,
// so its pass includes everything up to this state's last sequence.
func (f *follower) look(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if f.kv, err = f.store.js.KeyValue(ctx, f.store.bucket); err != nil {
		return fmt.Errorf("bind bucket: %w", err)
	}
	if f.bucket, err = lookAt(ctx, f.kv); err != nil {
		return err
	}
	if f.seen = f.bucket.lastSeq; f.bucket.leader != "" {
		f.led = f.began
	}
	st := *f.store.state.Load()
	st.kv = f.kv
	f.store.know(st)
	return nil
}

// pass takes everything that was in the bucket when the watch began.
func (f *follower) pass(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	silent := time.NewTimer(passTime)
	defer silent.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silent.C:
			return errPassSilent
		case entry, open := <-updates:
			if !open {
				return errWatchClosed
			}
			if entry == nil {
				return nil
			}
			f.take(entry)
			silent.Reset(passTime)
		}
	}
}

// take applies one entry and tells of it.
func (f *follower) take(entry jetstream.KeyValueEntry) {
	k := kindOf(entry.Key(), entry.Operation() != jetstream.KeyValuePut, entry.Value())
	f.seen = max(f.seen, entry.Revision())
	news := f.store.table.set(f.generation, entry.Key(), entry.Revision(), k, entry.Value())
	if news && k != kindStranger {
		f.store.notes.tell(Change{Survey: events.Survey(entry.Key()), Revision: entry.Revision(), Removed: k == kindRemoved})
	}
}

func kindOf(key string, removed bool, value []byte) kind {
	if _, err := events.ParseSurvey(key); err != nil {
		return kindStranger
	}
	switch {
	case removed:
		return kindRemoved
	case len(value) > MaxEndpointBytes:
		return kindTooLarge
	default:
		return kindEndpoint
	}
}

// sweep removes what is no longer in the bucket: nobody says so when a bucket
// was made anew or purged while the watch was away.
func (f *follower) sweep() {
	for _, r := range f.store.table.sweep() {
		if r.kind.counts() > 0 {
			f.store.notes.tell(Change{Survey: events.Survey(r.key), Revision: r.revision, Removed: true})
		}
	}
}

// current notes that the watch has everything the bucket had at a time.
func (f *follower) current(asOf time.Time) {
	f.store.silent.Store(0)
	f.store.know(watchState{kv: f.kv, following: true, asOf: asOf, reconnects: f.reconnects})
}
