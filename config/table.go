package config

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/popsee/webhooks/events"
)

const shardCount = 64 // a power of two: two cores or sixty-four, lookups seldom meet

// table is what is known of the bucket, in memory: every key's newest value,
// and the targets made of those that are in use.
type table struct {
	seed       maphash.Seed
	packer     packer
	generation atomic.Uint32 // of the newest pass; what a direct get found counts only in the generation it asked in
	newest     atomic.Uint64 // highest revision set in this generation
	shards     [shardCount]shard
	perShard   int // compiled targets a shard keeps at most
	loaded     int // endpoints a shard keeps at most; of the others it knows that they are there
}

func newTable(maxTargets, maxEndpoints int, keys *Keyring) *table {
	t := &table{seed: maphash.MakeSeed(), packer: newPacker(keys), perShard: max(1, maxTargets/shardCount), loaded: max(1, maxEndpoints/shardCount)}
	for i := range t.shards {
		s := &t.shards[i]
		s.seed = t.seed
		s.targets = map[events.Survey]*compiled{}
	}
	return t
}

func (t *table) shardOf(key string) (*shard, uint64) {
	hash := maphash.String(t.seed, key)
	return &t.shards[hash%shardCount], hash
}

// set keeps what a pass, the watch, a direct get or a write of our own has
// found, and says whether it is news.
func (t *table) set(generation uint32, key string, revision uint64, k kind, value []byte) bool {
	in := stored{key: key, revision: revision, kind: k}
	s, hash := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != t.generation.Load() {
		return false // found in a bucket that may be another one by now
	}
	for n := t.newest.Load(); n < revision && !t.newest.CompareAndSwap(n, revision); n = t.newest.Load() {
		continue
	}
	if k == kindEndpoint && s.full(hash, key, t.loaded) {
		in.kind = kindUnloaded
	}
	if in.kind == kindEndpoint {
		in.value = t.packer.pack(&s.scratch, value)
	}
	return s.set(hash, in, generation)
}

// begin starts a new generation: whatever is not set in it until its pass ends
// is swept.
func (t *table) begin() uint32 {
	g := t.generation.Add(1)
	t.newest.Store(0)
	return g
}

// get copies out what is known of a survey. The value is as it was stored.
func (t *table) get(id events.Survey) (stored, bool) {
	s, hash := t.shardOf(string(id))
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.find(hash, string(id))
	if !ok || r.kind().counts() == 0 {
		return stored{}, false
	}
	return t.copyOut(r), true
}

func (t *table) copyOut(r record) stored {
	out := stored{key: string(r.key()), revision: r.revision(), generation: r.generation(), kind: r.kind()}
	if out.kind == kindEndpoint {
		out.value = t.packer.unpack(r.value())
	}
	return out
}

// snapshot copies out the endpoints of one shard.
func (t *table) snapshot(shard int) []stored {
	s := &t.shards[shard]
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []stored
	for _, r := range s.all() {
		if r.kind().counts() > 0 {
			out = append(out, t.copyOut(r))
		}
	}
	return out
}

// sweep removes everything that the newest pass has not seen.
func (t *table) sweep() []stored {
	var removed []stored
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		removed = append(removed, s.sweep(t.generation.Load())...)
		s.mu.Unlock()
	}
	return removed
}

// size is how many endpoints there are, and how many keys the bucket has.
func (t *table) size() (endpoints, keys int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		endpoints += s.endpoints
		keys += s.keys()
		s.mu.RUnlock()
	}
	return endpoints, keys
}

// unloaded is how many endpoints there are past the bound of those in memory.
func (t *table) unloaded() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += s.unloaded
		s.mu.RUnlock()
	}
	return n
}

// free gives the memory back; the table is empty afterwards.
func (t *table) free() {
	t.begin()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.rebuild(func(record) bool { return false })
		clear(s.targets)
		s.mu.Unlock()
	}
}
