package config

import "encoding/binary"

// An arena holds the records of one shard outside the Go heap where it can: a
// million endpoints there cost their bytes and nothing else, while on the heap
// they would cost up to twice that before each collection, and the collector's
// time. Records are only appended; what is replaced is garbage until the shard
// is packed anew. It is not safe for concurrent use.
type arena struct {
	slabs   [][]byte
	used    int // bytes of the last slab
	total   int // bytes of all records
	garbage int // bytes of those that were replaced or removed
}

const (
	slabBytes = 256 << 10 // takes the largest record; pages of it that are never written cost nothing
	packAbove = slabBytes // below that, garbage is not worth the copying
)

// location is where a record is: slab and offset.
type location uint64

// kind says what a record is about.
type kind uint8

const (
	kindEndpoint kind = iota // a value that may be a valid endpoint
	kindRemoved              // the key's delete marker
	kindTooLarge             // a value that is not worth keeping: it is invalid by its size
	kindStranger             // a key that is no survey id, kept only to count the bucket's keys
	kindUnloaded             // an endpoint past the bound of those in memory: the bucket is asked for it
)

// record is a view of one record's bytes: revision, generation, kind, and the
// lengths of key and value, then key and value. A view is good while its shard
// is locked.
type record []byte

const recordHeader = 8 + 4 + 1 + 2 + 4

func (r record) revision() uint64 { return binary.LittleEndian.Uint64(r) }
func (r record) generation() uint32 {
	return binary.LittleEndian.Uint32(r[8:])
}
func (r record) setGeneration(g uint32) { binary.LittleEndian.PutUint32(r[8:], g) }
func (r record) kind() kind             { return kind(r[12]) }
func (r record) keyLen() int            { return int(binary.LittleEndian.Uint16(r[13:])) }
func (r record) valueLen() int          { return int(binary.LittleEndian.Uint32(r[15:])) }
func (r record) key() []byte            { return r[recordHeader:][:r.keyLen()] }
func (r record) value() []byte          { return r[recordHeader+r.keyLen():][:r.valueLen()] }
func (r record) size() int              { return recordHeader + r.keyLen() + r.valueLen() }

// add appends a record. What does not fit a slab gets one of its own.
func (a *arena) add(key string, revision uint64, generation uint32, k kind, value []byte) location {
	size := recordHeader + len(key) + len(value)
	if len(a.slabs) == 0 || a.used+size > len(a.slabs[len(a.slabs)-1]) {
		a.slabs = append(a.slabs, newSlab(max(slabBytes, size)))
		a.used = 0
	}
	at := location(len(a.slabs)-1)<<32 | location(a.used)
	r := a.slabs[len(a.slabs)-1][a.used:][:size]
	binary.LittleEndian.PutUint64(r, revision)
	binary.LittleEndian.PutUint32(r[8:], generation)
	r[12] = byte(k)
	binary.LittleEndian.PutUint16(r[13:], uint16(len(key)))
	binary.LittleEndian.PutUint32(r[15:], uint32(len(value)))
	copy(r[recordHeader:], key)
	copy(r[recordHeader+len(key):], value)
	a.used += size
	a.total += size
	return at
}

func (a *arena) at(p location) record { return record(a.slabs[p>>32][uint32(p):]) }

// drop counts a record as garbage.
func (a *arena) drop(r record) { a.garbage += r.size() }

func (a *arena) wasteful() bool { return a.garbage > packAbove && a.garbage > a.total/2 }

func (a *arena) free() {
	for _, s := range a.slabs {
		freeSlab(s)
	}
	*a = arena{}
}
