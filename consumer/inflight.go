package consumer

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// flightShards spreads the map's lock; a power of two.
const flightShards = 64

// settledFor is how long a settled sequence is remembered. A killed NATS server
// forgets the acks of its last ~200 ms and sends those messages again within
// seconds of its return: they are acknowledged again instead of sent again.
const settledFor = 15 * time.Second

// flight is one message in hand.
type flight struct {
	seq   uint64
	since time.Time

	mu  sync.Mutex
	msg jetstream.Msg // the newest delivery: the handle to settle by
}

// handle returns the newest delivery of the message.
func (f *flight) handle() jetstream.Msg {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.msg
}

func (f *flight) takeOver(msg jetstream.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.msg = msg
}

// entry says what [inflight.enter] found.
type entry uint8

const (
	entryFresh   entry = iota // ours to handle
	entryRunning              // an attempt runs; it has taken over the newer delivery
	entrySettled              // settled moments ago; only the acknowledgement was lost
)

// inflight knows every message in hand by its stream sequence, and those
// settled moments ago. A redelivery of either is never sent to the endpoint a
// second time.
type inflight struct {
	shards [flightShards]flightShard
}

type flightShard struct {
	mu       sync.Mutex // guards the maps
	flying   map[uint64]*flight
	settled  map[uint64]struct{} // this generation
	settled0 map[uint64]struct{} // the one before
}

func newInflight() *inflight {
	in := &inflight{}
	for i := range in.shards {
		in.shards[i].flying = map[uint64]*flight{}
		in.shards[i].settled = map[uint64]struct{}{}
	}
	return in
}

func (in *inflight) shard(seq uint64) *flightShard { return &in.shards[seq%flightShards] }

// enter takes a delivered message in hand.
func (in *inflight) enter(seq uint64, msg jetstream.Msg, now time.Time) (*flight, entry) {
	s := in.shard(seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flying[seq]; f != nil {
		f.takeOver(msg)
		return f, entryRunning
	}
	if s.isSettled(seq) {
		return nil, entrySettled
	}
	f := &flight{seq: seq, since: now, msg: msg}
	s.flying[seq] = f
	return f, entryFresh
}

func (s *flightShard) isSettled(seq uint64) bool {
	if _, ok := s.settled[seq]; ok {
		return true
	}
	_, ok := s.settled0[seq]
	return ok
}

// settle lets a message go whose event needs nothing more from the live
// consumer; it must be called before the acknowledgement is sent, so that a
// redelivery overtaking it finds the truth.
func (in *inflight) settle(seq uint64) {
	s := in.shard(seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flying, seq)
	s.settled[seq] = struct{}{}
}

// leave lets a message go unsettled: the server will deliver it again.
func (in *inflight) leave(seq uint64) {
	s := in.shard(seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flying, seq)
}

// age forgets what was settled two generations ago.
func (in *inflight) age() {
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.Lock()
		s.settled0, s.settled = s.settled, make(map[uint64]struct{}, len(s.settled0))
		s.mu.Unlock()
	}
}

// forget drops what was settled: another stream counts its sequences anew.
func (in *inflight) forget() {
	in.age()
	in.age()
}

// each calls f for every message in hand. f must not block.
func (in *inflight) each(f func(*flight)) {
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.Lock()
		for _, fl := range s.flying {
			f(fl)
		}
		s.mu.Unlock()
	}
}

// count is how many messages are in hand.
func (in *inflight) count() int {
	n := 0
	in.each(func(*flight) { n++ })
	return n
}
