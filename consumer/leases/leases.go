// Package leases divides the shards of the lanes between the replicas that live.
//
// A replica announces itself in one bucket and holds shards in another. Both
// forget a key that is not renewed for 15 seconds. Rendezvous hashing over the
// announced replicas suggests who should hold a shard; compare-and-set on the
// lease decides who does. So two replicas never hold one: a holder starts
// nothing more than ten seconds, on the monotonic clock, after its last renewal,
// and nobody else can take the lease for fifteen.
package leases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// askTime bounds one round of questions; a renewal that takes longer is tried
// again in the next round.
const askTime = 4 * time.Second

// roundAgain is the pause after a round that did not come to its end.
const roundAgain = time.Second

// Options are the choices of a [Keeper].
type Options struct {
	Self Replica
	TTL  time.Duration // of the buckets; 0 means layout.LeaseTTL, 15 s
	Log  zerolog.Logger

	Panics *panics.Guard
}

func (o Options) ttl() time.Duration {
	if o.TTL == 0 {
		return layout.LeaseTTL
	}
	return o.TTL
}

// renewEvery leaves two more chances before the bucket forgets.
func (o Options) renewEvery() time.Duration { return o.ttl() / 3 }

// mayFor is how long a holder may start things after its last renewal. What it
// has started then has a third of the TTL to end: an attempt takes 5 s.
func (o Options) mayFor() time.Duration { return o.ttl() / 3 * 2 }

// Replica is what a replica announces of itself.
type Replica struct {
	ID      string    `json:"id"` // unique among all processes that live or lived lately: what bears it is taken for this replica's own
	Version string    `json:"version"`
	Started time.Time `json:"started"`
}

// Holding is the value of a shard's lease.
type Holding struct {
	Replica string    `json:"replica"`
	Since   time.Time `json:"since"`
}

// Lease is one shard held by this replica.
type Lease struct {
	Shard    int
	renewed  atomic.Int64 // monotonic: nanoseconds since keeper's start
	keeper   *Keeper
	revision uint64 // 0: it is somebody else's, or nobody's; owned by Keeper.Run
	leaving  bool   // its work was told to end; owned by Keeper.Run
	stop     context.CancelFunc
	done     chan struct{} // closed when the shard's work has ended
}

// May says whether anything may be started for the shard right now. It must be
// asked before every start: a process that was paused finds that it may not.
func (l *Lease) May() bool {
	return time.Since(l.keeper.start)-time.Duration(l.renewed.Load()) < l.keeper.o.mayFor()
}

// Keeper announces a replica and holds shards for it.
type Keeper struct {
	js    jetstream.JetStream
	names events.Names
	o     Options
	start time.Time // its monotonic reading is the clock of all leases

	held map[int]*Lease
	work func(ctx context.Context, l *Lease)

	moved chan struct{} // capacity one: a replica came or went, or a shard is free

	mu       sync.Mutex // guards replicas
	replicas []Replica
}

// New returns a keeper that holds nothing until [Keeper.Run].
func New(js jetstream.JetStream, names events.Names, o Options) *Keeper {
	return &Keeper{js: js, names: names, o: o, start: time.Now(), held: map[int]*Lease{}, moved: make(chan struct{}, 1)}
}

// Replicas are the replicas that lived when this one last looked, itself
// included. An owner's limits are divided by their number.
func (k *Keeper) Replicas() []Replica {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replicas
}

// Run holds shards until ctx ends, and then gives them back. work is called for
// each shard that is taken, in a goroutine of its own; its context ends when the
// shard is to be let go, and only when it has returned is the lease given up, so
// that nothing is ever done by two replicas.
func (k *Keeper) Run(ctx context.Context, work func(ctx context.Context, l *Lease)) {
	k.work = work
	var watching sync.WaitGroup
	for _, bucket := range []string{k.names.Replicas(), k.names.Leases()} {
		watching.Go(func() {
			wait.For(ctx, watchAfter)
			k.keepWatching(ctx, bucket)
		})
	}
	tick := time.NewTicker(k.o.renewEvery())
	defer tick.Stop()
	for renew := true; ctx.Err() == nil; {
		var again <-chan time.Time
		if err := k.o.Panics.Try(panics.PlaceLeases, func() error { return k.round(ctx, renew) }); err != nil && ctx.Err() == nil {
			k.o.Log.Debug().Err(err).Msg("leases could not be looked at")
			again = time.After(roundAgain)
		}
		select {
		case <-again:
			renew = true
		case <-tick.C:
			renew = true
		case <-k.moved:
			renew = again != nil // a round that failed may not have announced or renewed
		case <-ctx.Done():
		}
	}
	watching.Wait()
	k.o.Panics.Do(panics.PlaceLeases, k.leave)
}

// round announces and renews, lets go and takes, in this order.
func (k *Keeper) round(ctx context.Context, renew bool) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	shards, err := k.js.KeyValue(ctx, k.names.Leases())
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", k.names.Leases(), err)
	}
	replicas, err := k.js.KeyValue(ctx, k.names.Replicas())
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", k.names.Replicas(), err)
	}
	if renew {
		k.renew(ctx, shards)
		if err := k.announce(ctx, replicas); err != nil {
			return err
		}
	}
	if err := k.meet(ctx, replicas); err != nil {
		return err
	}
	k.letGo(ctx, shards)
	taken, err := k.holders(ctx, shards)
	if err != nil {
		return err
	}
	for shard := range k.names.ShardCount() {
		mine := suggested(shard, k.Replicas()) == k.o.Self.ID
		switch l := k.held[shard]; {
		case l != nil && !mine:
			l.end()
		case l == nil && mine && taken[shard]:
			err = errors.Join(err, k.adopt(ctx, shards, shard))
		case l == nil && mine:
			err = errors.Join(err, k.take(ctx, shards, shard))
		}
	}
	return err
}

// announce renews this replica's own key. Nobody else writes it, so no revision is
// asked for: one whose answer was lost would not be known.
func (k *Keeper) announce(ctx context.Context, kv jetstream.KeyValue) error {
	if _, err := kv.Put(ctx, k.o.Self.ID, encode(k.o.Self)); err != nil {
		return fmt.Errorf("announce replica %s: %w", k.o.Self.ID, err)
	}
	return nil
}

// meet reads who lives. A list without this replica is none: it has announced itself, so
// who answered is behind, or the announcement has expired and is made again in a moment.
// With fewer replicas than there are each would take too large a share of an owner's
// limits, and without itself it would let every shard go.
func (k *Keeper) meet(ctx context.Context, kv jetstream.KeyValue) error {
	var replicas []Replica
	err := each(ctx, kv, func(e jetstream.KeyValueEntry) { replicas = append(replicas, Replica{ID: e.Key()}) }, jetstream.MetaOnly())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(replicas, func(r Replica) bool { return r.ID == k.o.Self.ID }) {
		return fmt.Errorf("read bucket %s: %d replicas are there and %s, which has announced itself, is not", kv.Bucket(), len(replicas), k.o.Self.ID)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replicas = replicas
	return nil
}

// renew renews every lease there is; one that somebody else has now is lost.
func (k *Keeper) renew(ctx context.Context, kv jetstream.KeyValue) {
	var all sync.WaitGroup
	for _, l := range k.held {
		if l.revision != 0 {
			all.Go(func() { k.o.Panics.Do(panics.PlaceLeases, func() { k.renewOne(ctx, kv, l) }) }) // at once: a busy server takes its time for each
		}
	}
	all.Wait()
}

func (k *Keeper) renewOne(ctx context.Context, kv jetstream.KeyValue, l *Lease) {
	revision, asked, err := k.update(ctx, kv, l.Shard, l.revision)
	if layout.Conflict(err) { // somebody else's, or ours by a write whose answer was lost
		revision, asked, err = k.updateOurs(ctx, kv, l.Shard)
	}
	switch {
	case err == nil:
		l.revision = revision
		l.renewed.Store(int64(asked)) // from before the question: the bucket counts from its answer
	case errors.Is(err, errNotOurs), !l.May():
		l.revision = 0
		l.end()
	}
}

// update writes a lease over its own earlier revision. asked is when.
func (k *Keeper) update(ctx context.Context, kv jetstream.KeyValue, shard int, over uint64) (revision uint64, asked time.Duration, err error) {
	asked = time.Since(k.start)
	revision, err = kv.Update(ctx, shardKey(shard), encode(Holding{k.o.Self.ID, time.Now().UTC()}), over)
	return revision, asked, err
}

// errNotOurs says that a lease bears another replica's name, or is gone.
var errNotOurs = errors.New("the lease is not ours")

// updateOurs writes a lease over whatever revision it has, if it bears our name.
func (k *Keeper) updateOurs(ctx context.Context, kv jetstream.KeyValue, shard int) (revision uint64, asked time.Duration, err error) {
	e, err := kv.Get(ctx, shardKey(shard))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, 0, errNotOurs
	}
	if err != nil {
		return 0, 0, err
	}
	var h Holding
	if json.Unmarshal(e.Value(), &h) != nil || h.Replica != k.o.Self.ID {
		return 0, 0, errNotOurs
	}
	return k.update(ctx, kv, shard, e.Revision())
}

// take takes a shard that nobody holds. That somebody else was first is no error;
// after one the lease may be ours or not, and the next round adopts it or tries again.
func (k *Keeper) take(ctx context.Context, kv jetstream.KeyValue, shard int) error {
	asked := time.Since(k.start)
	revision, err := kv.Create(ctx, shardKey(shard), encode(Holding{k.o.Self.ID, time.Now().UTC()}))
	if layout.Conflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take shard %d: %w", shard, err)
	}
	k.hold(shard, revision, asked)
	return nil
}

// adopt takes a lease that is ours although we never heard that we got it.
func (k *Keeper) adopt(ctx context.Context, kv jetstream.KeyValue, shard int) error {
	revision, asked, err := k.updateOurs(ctx, kv, shard)
	if errors.Is(err, errNotOurs) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("adopt shard %d: %w", shard, err)
	}
	k.hold(shard, revision, asked)
	return nil
}

// hold begins the work on a shard. asked is when its lease was asked for.
func (k *Keeper) hold(shard int, revision uint64, asked time.Duration) {
	working, stop := context.WithCancel(context.Background())
	l := &Lease{Shard: shard, keeper: k, revision: revision, stop: stop, done: make(chan struct{})}
	l.renewed.Store(int64(asked))
	k.held[shard] = l
	go func() {
		k.o.Panics.Do(panics.PlaceLane, func() { k.work(working, l) })
		close(l.done)
		k.wake()
	}()
}

// end tells the work on a shard to end. That takes as long as what has begun, so
// nobody waits for it here: the lease is renewed until then, and let go after.
func (l *Lease) end() {
	if !l.leaving {
		l.leaving = true
		l.stop()
	}
}

// letGo deletes the leases whose work has ended: the next holder starts where
// this one has stopped.
func (k *Keeper) letGo(ctx context.Context, kv jetstream.KeyValue) {
	for _, l := range k.held {
		select {
		case <-l.done:
		default:
			continue
		}
		delete(k.held, l.Shard)
		if l.revision == 0 {
			continue
		}
		if err := kv.Delete(ctx, shardKey(l.Shard), jetstream.LastRevision(l.revision)); err != nil {
			k.o.Log.Debug().Err(err).Int("shard", l.Shard).Msg("a lease could not be given up; it expires by itself")
		}
	}
}

// leave gives everything back, so that others need not wait for it to expire.
func (k *Keeper) leave() {
	for _, l := range k.held {
		l.stop()
	}
	for _, l := range k.held {
		<-l.done
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if kv, err := k.js.KeyValue(ctx, k.names.Leases()); err == nil {
		for _, l := range k.held {
			if l.revision == 0 {
				continue
			}
			_ = kv.Delete(ctx, shardKey(l.Shard), jetstream.LastRevision(l.revision)) // or it expires
		}
	}
	clear(k.held)
	if kv, err := k.js.KeyValue(ctx, k.names.Replicas()); err == nil {
		_ = kv.Delete(ctx, k.o.Self.ID)
	}
}

// holders are the shards that somebody holds.
func (k *Keeper) holders(ctx context.Context, kv jetstream.KeyValue) (map[int]bool, error) {
	taken := map[int]bool{}
	err := each(ctx, kv, func(e jetstream.KeyValueEntry) {
		var shard int
		if _, err := fmt.Sscanf(e.Key(), "%d", &shard); err == nil {
			taken[shard] = true
		}
	}, jetstream.MetaOnly())
	return taken, err
}

// suggested is the replica that should hold a shard: the one whose id hashes
// highest with it. When a replica comes or goes only its own shards move.
func suggested(shard int, replicas []Replica) string {
	best, winner := uint64(0), ""
	for _, r := range replicas {
		h := fnv.New64a()
		fmt.Fprintf(h, "%02d/%s", shard, r.ID)
		if v := mix(h.Sum64()); winner == "" || v > best || v == best && r.ID < winner {
			best, winner = v, r.ID
		}
	}
	return winner
}

// mix spreads what FNV leaves close together for ids that differ in their last
// characters alone (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func shardKey(shard int) string { return fmt.Sprintf("%02d", shard) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and times alone cannot fail
	}
	return b
}
