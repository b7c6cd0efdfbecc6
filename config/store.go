package config

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// StoreOptions is what a [Store] can be told. Its zero value works: it opens no
// secrets and logs nothing.
type StoreOptions struct {
	Keys  *Keyring       // nil: endpoints with secrets are ErrUnsealable
	Rules delivery.Rules // where endpoints may be
	Log   zerolog.Logger

	Panics *panics.Guard

	CheckEvery   time.Duration // how often the watch is compared with the bucket; 0 means a minute
	IdleAfter    time.Duration // how long a target nobody asks for is kept, at least; 0 means 5 minutes
	MaxEndpoints int           // how many endpoints are kept in memory; the bucket is asked for the others; 0 means 2,000,000
	MaxTargets   int           // how many targets are kept, each with its secrets open; 0 means 32,768
}

func (o StoreOptions) checkEvery() time.Duration {
	if o.CheckEvery > 0 {
		return o.CheckEvery
	}
	return time.Minute
}

func (o StoreOptions) idleAfter() time.Duration {
	if o.IdleAfter > 0 {
		return o.IdleAfter
	}
	return 5 * time.Minute
}

func (o StoreOptions) maxEndpoints() int {
	if o.MaxEndpoints > 0 {
		return o.MaxEndpoints
	}
	return defaultMaxEndpoints
}

func (o StoreOptions) maxTargets() int {
	if o.MaxTargets > 0 {
		return o.MaxTargets
	}
	return defaultMaxTargets
}

// What is kept where nobody says otherwise.
const (
	defaultMaxEndpoints = 2_000_000 // about 0.6 GB
	defaultMaxTargets   = 32_768
)

// Store holds the endpoints in memory, as their bucket has them. It is safe for
// concurrent use.
type Store struct {
	o      StoreOptions
	js     jetstream.JetStream
	bucket string
	table  *table
	notes  *notifier
	keys   atomic.Pointer[Keyring]

	state  atomic.Pointer[watchState]
	behind chan struct{} // capacity one: somebody waits until memory has caught up with the bucket
	silent atomic.Int64  // until when the bucket's leader is not asked, Unix ns: it has not answered
	closed atomic.Bool
	close  context.CancelFunc
	wg     sync.WaitGroup
}

// watchState is what is known of the watch; a new one replaces it.
type watchState struct {
	kv         jetstream.KeyValue
	following  bool      // the watch is open and its first pass is done
	asOf       time.Time // when the watch was last known to have everything
	reconnects uint64    // the connection's count at that time: since another reconnect nothing is known

	replaced chan struct{} // closed when something else is known
}

// Open watches a bucket into memory. It returns when all that is in the bucket
// is in memory, or fails; ctx bounds that and nothing else.
func Open(ctx context.Context, js jetstream.JetStream, bucket string, o StoreOptions) (*Store, error) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{o: o, js: js, bucket: bucket, table: newTable(o.maxTargets(), o.maxEndpoints(), o.Keys), notes: newNotifier(o.Panics), close: cancel, behind: make(chan struct{}, 1)}
	s.keys.Store(o.Keys)
	s.state.Store(&watchState{replaced: make(chan struct{})})
	opened := make(chan error, 1)
	s.wg.Go(func() { s.run(watching, opened) })
	s.wg.Go(func() { s.notes.run(watching) })
	var err error
	select {
	case err = <-opened:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open endpoint bucket %s: %w", bucket, err)
	}
	return s, nil
}

// Close ends the watch and forgets everything. The connection stays open. Every
// survey is [ErrUnavailable] afterwards.
func (s *Store) Close() {
	s.closed.Store(true)
	s.close()
	s.wg.Wait()
	s.know(watchState{kv: s.state.Load().kv})
	s.table.free()
}

// SetKeys replaces the key ring: from then on secrets are opened with the new
// one alone, those too that are open already. An endpoint that was
// [ErrUnsealable] is tried again.
func (s *Store) SetKeys(keys *Keyring) {
	s.keys.Store(keys)
	s.table.forgetTargets()
}

// Current says whether the watch is known to have everything that the bucket
// has, and when that was last seen.
func (s *Store) Current() (bool, time.Time) {
	st := s.state.Load()
	return s.current(st), st.asOf
}

func (s *Store) current(st *watchState) bool {
	return st.following &&
		time.Since(st.asOf) < 3*s.o.checkEvery() &&
		s.js.Conn().Status() == nats.CONNECTED &&
		s.js.Conn().Stats().Reconnects == st.reconnects
}

// know replaces what is known of the watch.
func (s *Store) know(st watchState) {
	st.replaced = make(chan struct{})
	close(s.state.Swap(&st).replaced)
}

// Target returns where the events of a survey go, from memory. That nothing is
// owed ([ErrNoEndpoint]) is only said of what the bucket had at the time of the
// call or later: whoever stores an endpoint and publishes its first event right
// after that gets it. If that cannot be known, the error is [ErrUnavailable].
// [ErrInvalidEndpoint] and [ErrUnsealable] stay until the endpoint or the key
// ring changes.
func (s *Store) Target(ctx context.Context, id events.Survey) (*delivery.Target, Limits, error) {
	c, err := s.lookUp(ctx, id)
	switch {
	case err != nil:
		return nil, Limits{}, err
	case c == nil:
		return nil, Limits{}, noEndpoint(id)
	}
	return c.target, c.limits, c.err
}

func (s *Store) lookUp(ctx context.Context, id events.Survey) (*compiled, error) {
	c := s.target(id)
	if c.owesNothing() {
		if !s.caughtUp(ctx) {
			return s.confirm(ctx, id)
		}
		c = s.target(id)
	}
	if c != nil && errors.Is(c.err, errUnloaded) {
		return s.fetch(ctx, id)
	}
	return c, nil
}

// Unloaded is how many endpoints are past the bound of those in memory.
func (s *Store) Unloaded() int { return s.table.unloaded() }

// Get returns the endpoint of a survey from memory, or from the bucket while the
// watch is not known to be current. One that is not valid comes as far as it could be read,
// with an [ErrInvalidEndpoint].
func (s *Store) Get(ctx context.Context, id events.Survey) (Endpoint, error) {
	in, ok := s.table.get(id)
	if current, _ := s.Current(); in.kind == kindUnloaded || !ok && !current {
		var err error
		if in, err = s.ask(ctx, id); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return Endpoint{}, fmt.Errorf("survey %s: %w: %w", id, ErrUnavailable, err)
		}
		ok = err == nil
	}
	if !ok {
		return Endpoint{}, noEndpoint(id)
	}
	return s.endpoint(id, in)
}

// List gives all endpoints from memory, in no particular order. One that is not
// valid comes with its survey, its revision and an [ErrInvalidEndpoint]; one that
// is not in memory with its survey, its revision and an [ErrUnavailable].
func (s *Store) List() iter.Seq2[Endpoint, error] {
	return func(yield func(Endpoint, error) bool) {
		for i := range shardCount {
			for _, in := range s.table.snapshot(i) {
				if !yield(s.endpoint(events.Survey(in.key), in)) {
					return
				}
			}
		}
	}
}

// Len is how many endpoints there are, valid or not.
func (s *Store) Len() int {
	n, _ := s.table.size()
	return n
}

// Put is [Editor.Put]; what it wrote is in memory when it returns.
func (s *Store) Put(ctx context.Context, e Endpoint) (Endpoint, error) {
	ed, generation := s.editor(), s.table.generation.Load()
	stored, value, err := ed.put(ctx, e)
	if err != nil {
		return Endpoint{}, err
	}
	if s.table.set(generation, string(e.Survey), stored.Revision, kindEndpoint, value) {
		s.notes.tell(Change{Survey: e.Survey, Revision: stored.Revision})
	}
	return stored, nil
}

// Remove is [Editor.Remove]; the watch forgets the endpoint a moment later.
func (s *Store) Remove(ctx context.Context, id events.Survey, revision uint64) error {
	return s.editor().Remove(ctx, id, revision)
}

func (s *Store) editor() *Editor { return NewEditor(s.state.Load().kv, s.o.Rules) }

// Watch calls f for every change from now on, from one goroutine that is not
// the caller's. Of several changes of one survey f may see only the last. It
// must not block. A call may be under way while cancel is called, none begins
// later.
func (s *Store) Watch(f func(Change)) (cancel func()) { return s.notes.add(f) }
