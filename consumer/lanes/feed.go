package lanes

import (
	"cmp"
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
	feedBeat   = 5 * time.Second       // an idle feed hears of the server so often; after two silent ones it is read anew
	feedPull   = 10 * time.Minute      // one pull of the feed: an idle one costs next to nothing
	feedGone   = time.Minute           // a feed nobody reads any more is forgotten by the server
	feedAgain  = time.Second           // after a feed that ended
	feedLook   = 30 * time.Second      // between looks at whether the client had to begin again, for when nothing comes. Each puts off that silence is noticed, so it is longer than two beats
	feedStuck  = 5 * time.Second       // more is to come, and nothing does
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

	born time.Time // of the stream, when it was read first
	last uint64    // the last sequence that was read
}

// Why a reading ends that could go on.
var (
	errBack     = errors.New("the lanes stream is not the one that was read: it was made anew, or restored from an older copy")
	errStuck    = errors.New("more was counted than comes")
	errReplaced = errors.New("the client has begun again behind what was read last, wherever the stream is now")
)

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
		f := &feed{o: o, shards: map[int]*shard{}, stop: stop, done: make(chan struct{})}
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

func (f *feed) read(ctx context.Context, shards map[int]*shard) error {
	names := f.o.o.Names
	stream, err := f.o.js.Stream(ctx, names.Lanes())
	if err != nil {
		return fmt.Errorf("open stream %s: %w", names.Lanes(), err)
	}
	if err := f.recognise(stream.CachedInfo()); err != nil {
		return fmt.Errorf("read stream %s: %w", names.Lanes(), err)
	}
	f.o.lookNear(stream)
	last := stream.CachedInfo().State.LastSeq
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: filterOf(names, shards), HeadersOnly: true, DeliverPolicy: jetstream.DeliverAllPolicy,
		InactiveThreshold: feedGone,
		MaxResetAttempts:  1, // then it begins anew here, where ctx is heard
	})
	if err != nil {
		return fmt.Errorf("read stream %s: %w", names.Lanes(), err)
	}
	it, err := cons.Messages(jetstream.PullExpiry(feedPull), jetstream.PullHeartbeat(feedBeat))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", names.Lanes(), err)
	}
	defer it.Stop()
	// Nobody stops it from outside: while the client makes another consumer, that is lost.
	reading, end := context.WithCancelCause(ctx)
	defer end(nil)
	first := cons.CachedInfo().Name
	// What the server has counted may be removed before it is sent. Then nothing comes
	// that is the last one, and only another reading finds out.
	stuck := time.AfterFunc(feedStuck, func() { end(errStuck) })
	defer stuck.Stop()
	began, entries := time.Now(), 0
	caughtUp := cons.CachedInfo().NumPending == 0
	if caughtUp {
		stuck.Stop()
		tellAll(shards)
	}
	look := lookLater(reading)
	defer func() { look.off() }()
	for {
		if !caughtUp {
			stuck.Reset(feedStuck)
		}
		msg, err := it.Next(jetstream.NextContext(look.until))
		stuck.Stop()
		if err != nil && look.until.Err() != nil && reading.Err() == nil {
			look.off()
			look = lookLater(reading)
			if !caughtUp || cons.CachedInfo().Name == first {
				continue
			}
			err = errReplaced
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", names.Lanes(), cmp.Or(context.Cause(reading), err))
		}
		meta, err := msg.Metadata()
		if err == nil && caughtUp && meta.Consumer != first {
			err = errReplaced
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", names.Lanes(), err)
		}
		f.last = max(f.last, meta.Sequence.Stream)
		f.pass(msg, meta.Sequence.Stream, shards)
		if entries++; !caughtUp && (meta.NumPending == 0 || meta.Sequence.Stream >= last) {
			caughtUp = true
			f.o.o.Log.Info().Int("shards", len(shards)).Int("entries", entries).Dur("took", time.Since(began)).Msg("all waiting events are known")
			tellAll(shards)
		}
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

// look is when the feed looks whether the client had to begin again. It is one of many
// messages: a context for each would cost as much as reading it.
type look struct {
	until context.Context
	off   context.CancelFunc
}

func lookLater(ctx context.Context) look {
	until, off := context.WithTimeout(ctx, feedLook)
	return look{until, off}
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

func tellAll(shards map[int]*shard) {
	for _, s := range shards {
		s.feed(fed{caughtUp: true})
	}
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
