package deliverylog

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const defaultMaxBuffered = 16 << 20 // some 40,000 attempts: eight seconds at 5,000 a second

// Options are the choices of a [Log]. The zero value works.
type Options struct {
	Replica     string                // who writes, as readers will see it
	Log         zerolog.Logger        // told when records begin to be dropped, and when that is over
	Metrics     prometheus.Registerer // nil: counted all the same, and not shown
	Panics      *panics.Guard
	MaxBuffered int // bytes kept while they cannot be written; 0 means 16 MiB
}

// Log takes in what happened and writes it to the bus in the background. It is
// safe for concurrent use. Nothing is written unless [Log.Run] runs, or
// [Log.Flush] is called.
type Log struct {
	js      jetstream.JetStream
	names   events.Names
	o       Options
	metrics *metrics

	shards   [events.Shards]shard
	buffered atomic.Int64  // bytes in all shards
	full     chan struct{} // capacity one: some shard has a full chunk

	writing chan struct{} // capacity one: whoever has put something in writes, and has what follows to itself
	pause   time.Time     // no write before then, after one that failed
	failing bool          // told in the log already
	healed  Loss          // not confirmed since failing began
	retired sync.Pool     // of *chunk, whose body keeps its memory

	totalMu sync.Mutex // guards total
	total   Loss
}

// shard is one subject's buffer.
type shard struct {
	mu      sync.Mutex // guards everything below
	current *chunk     // being filled; nil when empty
	full    []*chunk
	settled map[settledKey]*settled
	cost    int64 // of settled, as counted in Log.buffered
	loss    Loss  // not yet told of by a dropped record
}

// New returns a log that does nothing by itself.
func New(js jetstream.JetStream, names events.Names, o Options) *Log {
	o.MaxBuffered = cmp.Or(o.MaxBuffered, defaultMaxBuffered)
	return &Log{js: js, names: names, o: o, metrics: newMetrics(o.Metrics), full: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
}

// Attempt takes in one attempt for the event at seq of the event stream. It
// never waits for the bus.
func (l *Log) Attempt(seq uint64, a delivery.Attempt) {
	n := l.names.Shard(a.Survey)
	s := &l.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.room() {
		l.drop(s, one(seq, a.Started))
		return
	}
	if s.current == nil {
		s.current = l.chunk(n)
	}
	c := s.current
	before := len(c.body)
	c.body = appendAttempt(c.body, seq, &a)
	c.records++
	c.cover(Run{seq, seq}, a.Started)
	l.buffered.Add(int64(len(c.body) - before))
	if len(c.body) >= chunkBytes {
		s.full = append(s.full, c)
		s.current = nil
		l.wake()
	}
}

// Settled takes in an event that was let go without a 2xx, attempted or not.
// Sequences that follow each other become one run. It never waits for the bus.
func (l *Log) Settled(kind Kind, survey events.Survey, seq uint64) {
	s := &l.shards[l.names.Shard(survey)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.room() {
		l.drop(s, one(seq, time.Now()))
		return
	}
	key, cost := settledKey{kind, survey}, 0
	of := s.settled[key]
	if of == nil {
		of, cost = &settled{since: time.Now()}, settledCost
		if s.settled == nil {
			s.settled = map[settledKey]*settled{}
		}
		s.settled[key] = of
	}
	cost += of.add(seq)
	s.cost += int64(cost)
	l.buffered.Add(int64(cost))
}

// Dropped is what was lost since the log was made.
func (l *Log) Dropped() Loss {
	l.totalMu.Lock()
	defer l.totalMu.Unlock()
	return l.total
}

// drop counts a loss; the shard is locked.
func (l *Log) drop(s *shard, loss Loss) {
	s.loss.add(loss)
	l.metrics.dropped.Add(float64(loss.Records))
	l.totalMu.Lock()
	defer l.totalMu.Unlock()
	l.total.add(loss)
}

func (l *Log) room() bool { return l.buffered.Load() < int64(l.o.MaxBuffered) }

// chunk gives an empty one, with the memory of one that was written.
func (l *Log) chunk(shard int) *chunk {
	c, ok := l.retired.Get().(*chunk)
	if !ok {
		c = &chunk{body: make([]byte, 0, 4<<10)}
	}
	*c = chunk{shard: shard, opened: time.Now(), body: c.body[:0]}
	return c
}

func (l *Log) wake() {
	select {
	case l.full <- struct{}{}:
	default:
	}
}
