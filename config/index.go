package config

import (
	"encoding/binary"
	"hash/maphash"
)

// index leads from a key to its record: a hash table with linear probing, off
// the heap like the arena it points into. Slots are never emptied one by one,
// so probing needs no tombstones; a shard that forgets keys is rebuilt.
type index struct {
	slots []byte // 8 bytes each; 0 is free, else the hash's upper 16 bits above a location + 1
	used  int
}

const (
	slotBytes  = 8
	firstSlots = 512 // one page
	tagShift   = 48  // a location has fewer bits: 65,536 slabs a shard are 16 GiB
)

func (x *index) slot(i int) uint64 { return binary.LittleEndian.Uint64(x.slots[i*slotBytes:]) }

func (x *index) setSlot(i int, v uint64) { binary.LittleEndian.PutUint64(x.slots[i*slotBytes:], v) }

func (x *index) len() int { return len(x.slots) / slotBytes }

func (x *index) free() {
	if x.slots != nil {
		freeSlab(x.slots)
	}
	*x = index{}
}

func locationOf(slot uint64) location { return location(slot&(1<<tagShift-1)) - 1 }

// probe gives the slot of a key, or the free one where it would go.
func (s *shard) probe(hash uint64, key string) (i int, found bool) {
	mask := s.index.len() - 1
	for i = int(hash/shardCount) & mask; ; i = (i + 1) & mask { // the lowest bits are the same in all of a shard
		v := s.index.slot(i)
		if v == 0 {
			return i, false
		}
		if v>>tagShift == hash>>tagShift && string(s.arena.at(locationOf(v)).key()) == key {
			return i, true
		}
	}
}

// point makes the index lead from a key to a record.
func (s *shard) point(hash uint64, key string, at location) {
	if s.index.used*4 >= s.index.len()*3 {
		s.grow()
	}
	i, found := s.probe(hash, key)
	if !found {
		s.index.used++
	}
	s.index.setSlot(i, hash>>tagShift<<tagShift|uint64(at+1))
}

// grow doubles the index.
func (s *shard) grow() {
	old := s.index
	s.index = index{slots: newSlab(max(firstSlots*slotBytes, 2*len(old.slots)))}
	for i := range old.len() {
		if v := old.slot(i); v != 0 {
			key := string(s.arena.at(locationOf(v)).key())
			s.point(maphash.String(s.seed, key), key, locationOf(v))
		}
	}
	old.free()
}

// all gives views of every record that is not garbage.
func (s *shard) all() []record {
	out := make([]record, 0, s.index.used)
	for i := range s.index.len() {
		if v := s.index.slot(i); v != 0 {
			out = append(out, s.arena.at(locationOf(v)))
		}
	}
	return out
}
