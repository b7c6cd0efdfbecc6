package lanes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	feedGather = 50 * time.Millisecond // shards that are taken together are read together
	feedGone   = time.Minute           // a feed nobody reads any more is forgotten by the server
	feedAgain  = time.Second           // after a feed that ended
)

// feed reads the headers of the lanes stream for the shards that were taken
// together: from the first event on, and then new ones as they come. One reader of
// everything is several times faster than one for each of 64 shards (measured),
// and costs an idle replica nothing.
type feed struct {
	o      *Owner
	shards map[int]*shard // guarded by the owner's mu; fixed, but for those that leave, once the feed reads
	stop   context.CancelFunc
	done   chan struct{} // closed when nothing is read any more
	hurry  chan struct{} // capacity one: somebody waits for what has been stored

	born time.Time // of the stream, when it was read first
	last uint64    // the last sequence that was read
}

// errBack is why a feed ends for good.
var errBack = errors.New("the lanes stream is not the one that was read: it was made anew, or restored from an older copy")

// fed is one entry of a shard, or the news that all there was has come.
type fed struct {
	survey   events.Survey
	entry    entry
	foreign  bool // this version cannot read it; of the entry only the sequence is known
	caughtUp bool
}

// join has a shard fed, together with others that join at the moment.
func (o *Owner) join(s *shard) *feed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.joining == nil {
		ctx, stop := context.WithCancel(context.Background())
		f := &feed{o: o, shards: map[int]*shard{}, stop: stop, done: make(chan struct{}), hurry: make(chan struct{}, 1)}
		o.joining = f
		go f.run(ctx)
	}
	o.joining.shards[s.lease.Shard] = s
	return o.joining
}

// leave ends the feeding of a shard, and the feed with its last one.
func (f *feed) leave(s *shard) {
	f.o.mu.Lock()
	delete(f.shards, s.lease.Shard)
	last := len(f.shards) == 0
	if last && f.o.joining == f {
		f.o.joining = nil
	}
	f.o.mu.Unlock()
	if last {
		f.stop()
		<-f.done
	}
}

// run reads until the last shard has left. A reading that breaks begins anew: what
// is in an index already is recognised there. Where the stream has stepped back no index
// is true any more: each shard is let go, and read by a feed of its next owner.
func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	wait.For(ctx, feedGather)
	shards := f.begin()
	for ctx.Err() == nil {
		err := f.o.o.Panics.Try(panics.PlaceFeed, func() error { return f.read(ctx, shards) })
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errBack):
			f.o.o.Log.Warn().Err(err).Int("shards", len(shards)).Msg("the lanes are read anew; webhooks audit names the events that are not there any more, and webhooks replay start sends them")
			for _, s := range shards {
				s.letGo()
			}
			<-ctx.Done()
		case err != nil:
			f.o.o.Log.Debug().Err(err).Int("shards", len(shards)).Msg("the lanes could not be read on; they are read anew")
			wait.For(ctx, feedAgain)
		}
	}
}

// begin lets nobody join any more, and returns who has.
func (f *feed) begin() map[int]*shard {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if f.o.joining == f {
		f.o.joining = nil
	}
	return maps.Clone(f.shards)
}

// read reads everything there is, and then what comes.
func (f *feed) read(ctx context.Context, shards map[int]*shard) error {
	r, err := f.open(ctx, shards)
	if err == nil {
		err = r.readOn(ctx)
	}
	return fmt.Errorf("read stream %s: %w", f.o.o.Names.Lanes(), err)
}

// open begins a reading of the stream, if it is the one that was read before.
func (f *feed) open(ctx context.Context, shards map[int]*shard) (*reader, error) {
	stream, err := f.o.js.Stream(ctx, f.o.o.Names.Lanes())
	if err != nil {
		return nil, err
	}
	if err := f.recognise(stream.CachedInfo()); err != nil {
		return nil, err
	}
	f.o.lookNear(stream)
	cons, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: filterOf(f.o.o.Names, shards), HeadersOnly: true, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: feedGone,
	})
	if err != nil {
		return nil, err
	}
	return &reader{
		feed: f, shards: shards, cons: cons, began: time.Now(), end: stream.CachedInfo().State.LastSeq, left: cons.CachedInfo().NumPending,
	}, nil
}

// now has what has been stored read without a rest.
func (f *feed) now() {
	select {
	case f.hurry <- struct{}{}:
	default:
	}
}

// recognise says whether the stream is the one that was read before, and goes on from
// there. A NATS that lost its last writes in a power cut counts some sequences twice.
func (f *feed) recognise(info *jetstream.StreamInfo) error {
	born := layout.Born(info)
	if f.born.IsZero() {
		f.born = born
	}
	if !born.Equal(f.born) || info.State.LastSeq < f.last {
		return fmt.Errorf("%w (it is of %s and ends at %d; read was one of %s up to %d)", errBack,
			born.Format(time.RFC3339Nano), info.State.LastSeq, f.born.Format(time.RFC3339Nano), f.last)
	}
	return nil
}

// filterOf is set where one shard alone is read: a filter costs less than what it
// keeps away, several cost more.
func filterOf(names events.Names, shards map[int]*shard) []string {
	if len(shards) != 1 {
		return nil
	}
	for n := range shards {
		return []string{names.LaneShardSubject(n)}
	}
	return nil
}

// pass hands one message to its shard, if that is among those read.
func (f *feed) pass(msg jetstream.Msg, seq uint64, shards map[int]*shard) {
	subject := msg.Subject()
	survey, err := events.ParseSurvey(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		f.unreadable(err, seq)
		return
	}
	s := shards[f.o.o.Names.Shard(survey)]
	if s == nil {
		return
	}
	e := entry{seq: seq}
	err = f.o.o.Panics.Try(panics.PlaceFeed, func() (err error) {
		e, err = f.o.index(msg, seq)
		return err
	})
	if err != nil {
		f.unreadable(err, seq)
	}
	s.feed(fed{survey: survey, entry: e, foreign: err != nil})
}

func (f *feed) unreadable(err error, seq uint64) {
	f.o.quiet.Warn(fmt.Errorf("event %d of the lanes: %w", seq, err), "a parked event cannot be read and is left alone")
}

// index reads an entry from a message's headers; of one that cannot be read only
// the sequence is known.
func (o *Owner) index(msg jetstream.Msg, seq uint64) (entry, error) {
	w, err := read(msg.Headers(), nil)
	if err != nil {
		return entry{seq: seq}, err
	}
	size, _ := strconv.ParseUint(msg.Headers().Get("Nats-Msg-Size"), 10, 32) // headers-only deliveries carry it
	published := momentOf(w.Published)
	e := entry{src: w.Source, seq: seq, size: uint32(size), pub: published.second(), part: published.part()}
	if !w.DueNow {
		e.due = seconds(o.o.firstTry(w, time.Now()))
	}
	return e, nil
}

// spread is over how long events are tried whose times were missed while nobody
// owned their shard: after a replica's death they have waited for its lease already.
// More is not needed, for what is due at once is tried within the owner's slots.
const spread = 10 * time.Second

// firstTry is when an event that fails by itself is tried first by a new owner.
// Times that have passed count as missed, and collapse into one.
func (o Options) firstTry(w Waiting, now time.Time) time.Time {
	due, ok := o.Schedule(w.Parked, w.EventID, w.Parked)
	if ok && due.After(now) {
		return due
	}
	return now.Add(time.Duration(w.Source * 0x9e3779b97f4a7c15 % uint64(spread)))
}

// feed takes in what the feed has read, unless the shard is being let go.
func (s *shard) feed(f fed) {
	select {
	case s.fed <- f:
	case <-s.ending:
	}
}
