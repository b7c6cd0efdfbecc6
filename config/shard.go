package config

import (
	"bytes"
	"hash/maphash"
	"sync"

	"github.com/popsee/webhooks/events"
)

// shard holds one part of the surveys, so that looking one up seldom waits for
// another.
type shard struct {
	seed      maphash.Seed
	compiling sync.Mutex // held while a target is made: twenty deliveries of one survey unseal its secrets once

	mu        sync.RWMutex // guards all below
	arena     arena
	index     index
	scratch   scratch
	endpoints int // records of kindEndpoint, kindTooLarge and kindUnloaded
	unloaded  int // those of kindUnloaded
	targets   map[events.Survey]*compiled
}

// stored is a copy of what the shard knows of a key.
type stored struct {
	key        string
	revision   uint64
	generation uint32 // which pass has seen it: in a bucket made anew a revision may be another value
	kind       kind
	value      []byte // packed on the way in, as it was stored on the way out
}

// find gives the record of a key.
func (s *shard) find(hash uint64, key string) (record, bool) {
	if s.index.used == 0 {
		return nil, false
	}
	i, found := s.probe(hash, key)
	if !found {
		return nil, false
	}
	return s.arena.at(locationOf(s.index.slot(i))), true
}

// set keeps a key's newest record, and says whether that changed anything. In
// one generation the higher revision is the newer; what an older generation
// left is always replaced, because in a bucket made anew revisions begin again.
func (s *shard) set(hash uint64, in stored, generation uint32) bool {
	key := in.key
	r, known := s.find(hash, key)
	if known && r.generation() == generation && r.revision() >= in.revision {
		return false
	}
	if known && r.revision() == in.revision && r.kind() == in.kind && bytes.Equal(r.value(), in.value) {
		r.setGeneration(generation)
		return false
	}
	if known {
		s.forget(r)
	}
	s.point(hash, key, s.arena.add(key, in.revision, generation, in.kind, in.value))
	s.count(in.kind, 1)
	delete(s.targets, events.Survey(key))
	s.tidy()
	return true
}

func (s *shard) forget(r record) {
	s.count(r.kind(), -1)
	s.arena.drop(r)
}

// counts is 1 for what is an endpoint, valid or not.
func (k kind) counts() int {
	if k == kindEndpoint || k == kindTooLarge || k == kindUnloaded {
		return 1
	}
	return 0
}

// count notes that there is a record more, or less.
func (s *shard) count(k kind, n int) {
	s.endpoints += n * k.counts()
	if k == kindUnloaded {
		s.unloaded += n
	}
}

// full says whether another endpoint would be one too many in memory.
func (s *shard) full(hash uint64, key string, most int) bool {
	if s.endpoints-s.unloaded < most {
		return false
	}
	r, known := s.find(hash, key)
	return !known || r.kind() != kindEndpoint
}

// sweep removes what the pass of a generation has not seen, and says which keys
// of endpoints those were.
func (s *shard) sweep(generation uint32) []stored {
	var removed []stored
	for _, r := range s.all() {
		if r.generation() != generation {
			removed = append(removed, stored{key: string(r.key()), revision: r.revision(), kind: r.kind()})
			delete(s.targets, events.Survey(r.key()))
		}
	}
	if len(removed) > 0 {
		s.rebuild(func(r record) bool { return r.generation() == generation })
	}
	return removed
}

// keys is how many keys of the bucket the shard knows, delete markers included.
func (s *shard) keys() int { return s.index.used }

// tidy packs the records anew when more than half of the arena is garbage.
func (s *shard) tidy() {
	if s.arena.wasteful() {
		s.rebuild(func(record) bool { return true })
	}
}

// rebuild copies the records worth keeping to a new arena.
func (s *shard) rebuild(keep func(record) bool) {
	old, records := s.arena, s.all()
	s.index.free()
	s.arena, s.endpoints, s.unloaded = arena{}, 0, 0
	for _, r := range records {
		if !keep(r) {
			continue
		}
		key := string(r.key())
		s.point(maphash.String(s.seed, key), key, s.arena.add(key, r.revision(), r.generation(), r.kind(), r.value()))
		s.count(r.kind(), 1)
	}
	old.free()
}
