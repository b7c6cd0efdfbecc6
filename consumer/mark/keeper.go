package mark

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/layout"
)

// markKey is the mark's key in the state bucket.
const markKey = "mark"

// Keeper writes where the live consumer stands and compares it with where it
// stood. Replicas share one mark; a write is a compare-and-set, so the slower of
// two simply loses its turn.
type Keeper struct {
	js     jetstream.JetStream
	layout layout.Layout
	log    zerolog.Logger

	bound   atomic.Uint64         // see Bound
	alarm   atomic.Pointer[Alarm] // nil while all is well
	created atomic.Int64          // see StreamCreated
}

// New returns a keeper that does nothing until it is asked to look.
func New(js jetstream.JetStream, l layout.Layout, log zerolog.Logger) *Keeper {
	return &Keeper{js: js, layout: l, log: log}
}

// Bound is the stream sequence up to which everything was settled for certain:
// a message at or below it that is delivered again proves that the consumer's
// state was lost.
func (k *Keeper) Bound() uint64 { return k.bound.Load() }

// Alarm is why the live consumer must not go on; nil while all is well.
func (k *Keeper) Alarm() *Alarm { return k.alarm.Load() }

// StreamCreated identifies the event stream, as Unix nanoseconds; 0 until it was
// seen. Another stream counts its sequences anew.
func (k *Keeper) StreamCreated() int64 { return k.created.Load() }

// Look reads the mark and the bus, and acts on what they say together: it
// creates the consumer where that is safe, and raises the alarm where it is
// not. It returns what it saw when the consumer may be pulled from; the error is
// an [*Alarm] when a person must decide, and [ErrBusy] when another replica was
// writing in the same moment.
func (k *Keeper) Look(ctx context.Context) (*jetstream.StreamInfo, *jetstream.ConsumerInfo, error) {
	kv, err := k.js.KeyValue(ctx, k.layout.Names.State())
	if err != nil {
		return nil, nil, fmt.Errorf("open bucket %s: %w", k.layout.Names.State(), err)
	}
	// The mark is read before the consumer's info: should another replica write
	// in between, our compare-and-set fails instead of taking the floor back.
	m, revision, err := readMark(ctx, kv)
	if err != nil {
		return nil, nil, err
	}
	stream, info, err := k.see(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := sightOf(stream, info)
	st := judge(m, s)
	if st == standingFallen || st == standingRecreated {
		return nil, nil, k.raise(alarmFor(st, *m, s))
	}
	info, err = k.place(ctx, kv, stream, st, m, s, info)
	if err != nil {
		return nil, nil, err
	}
	k.calm()
	return stream, info, k.write(ctx, kv, m, revision, info, s.Created)
}

// see fetches the stream's and the consumer's info; a missing consumer is a nil
// info, not an error.
func (k *Keeper) see(ctx context.Context) (*jetstream.StreamInfo, *jetstream.ConsumerInfo, error) {
	name := k.layout.Names.Stream()
	stream, err := k.js.Stream(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	cons, err := stream.Consumer(ctx, k.layout.Names.Consumer())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return stream.CachedInfo(), nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("look at consumer %s: %w", k.layout.Names.Consumer(), err)
	}
	return stream.CachedInfo(), cons.CachedInfo(), nil
}

func sightOf(stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo) sight {
	s := sight{Created: layout.Born(stream), First: stream.State.FirstSeq, Last: stream.State.LastSeq}
	if info != nil {
		s.Consumer, s.Floor = true, Floor(info)
	}
	return s
}

// Floor is the sequence up to which a consumer has settled everything, or was made
// to leave it to others. In a cluster one that was just made says 0 for a moment,
// until its leader has begun.
func Floor(info *jetstream.ConsumerInfo) uint64 {
	return max(info.AckFloor.Stream, max(info.Config.OptStartSeq, 1)-1)
}

// place creates the consumer where it is missing. On the very first start the
// mark is written before the consumer: of several replicas starting at once,
// one wins the mark and all create the same consumer.
func (k *Keeper) place(ctx context.Context, kv jetstream.KeyValue, stream *jetstream.StreamInfo, st standing, m *mark, s sight, info *jetstream.ConsumerInfo) (*jetstream.ConsumerInfo, error) {
	switch st {
	case standingFirst:
		first := newMark(s.Last, s.Created, time.Now())
		if _, err := kv.Create(ctx, markKey, first.encode()); err != nil {
			if layout.Conflict(err) {
				return nil, ErrBusy
			}
			return nil, fmt.Errorf("write the first mark: %w", err)
		}
		k.tellFirst(stream)
		return k.create(ctx, stream, s.Last+1)
	case standingMissing:
		made, err := k.create(ctx, stream, m.Floor+1)
		if err == nil {
			k.log.Warn().Uint64("from", m.Floor+1).Msg("the live consumer was missing; created again behind the mark")
		}
		return made, err
	default:
		return info, nil
	}
}

// ErrBusy says that another replica wrote the mark in the same moment: look
// again.
var ErrBusy = errors.New("another replica is writing the mark")

func (k *Keeper) tellFirst(stream *jetstream.StreamInfo) {
	e := k.log.Info().Uint64("from", stream.State.LastSeq+1)
	if n := stream.State.Msgs; n > 0 {
		e.Uint64("older", n).Msg("first start: new events only; `webhooks replay start` could send the older ones")
		return
	}
	e.Msg("first start: new events only")
}

func (k *Keeper) create(ctx context.Context, stream *jetstream.StreamInfo, start uint64) (*jetstream.ConsumerInfo, error) {
	cfg := k.layout.Consumer(start, layout.Filters(stream.Config, k.layout.Names.Subjects()))
	cons, err := k.js.CreateConsumer(ctx, k.layout.Names.Stream(), cfg)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil, ErrBusy // a replica started in the same moment, from a later event
	}
	if layout.RefusedWith(err, codeConsumerCreate) {
		return nil, &Damaged{Stream: k.layout.Names.Stream(), Consumer: cfg.Durable, From: start, err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", cfg.Durable, err)
	}
	return cons.CachedInfo(), nil
}

// write moves the mark when there is something to say.
func (k *Keeper) write(ctx context.Context, kv jetstream.KeyValue, m *mark, revision uint64, info *jetstream.ConsumerInfo, created time.Time) error {
	k.created.Store(created.UnixNano())
	floor := Floor(info)
	if m == nil {
		_, err := kv.Create(ctx, markKey, newMark(floor, created, time.Now()).encode())
		return ignoreConflict(err)
	}
	k.bound.Store(m.bound())
	if m.Floor == floor {
		return nil
	}
	next := m.moved(floor, time.Now())
	_, err := kv.Update(ctx, markKey, next.encode(), revision)
	return ignoreConflict(err)
}

// ignoreConflict drops the error of a compare-and-set another replica won.
func ignoreConflict(err error) error {
	if err == nil || layout.Conflict(err) {
		return nil
	}
	return fmt.Errorf("write the mark: %w", err)
}

func readMark(ctx context.Context, kv jetstream.KeyValue) (*mark, uint64, error) {
	entry, err := kv.Get(ctx, markKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the mark: %w", err)
	}
	m, err := parseMark(entry.Value())
	return &m, entry.Revision(), err
}

func (k *Keeper) raise(a *Alarm) error {
	if k.alarm.Swap(a) == nil {
		k.log.Error().Str("do", a.Hint()).Msg(a.What)
	}
	return a
}

func (k *Keeper) calm() {
	if k.alarm.Swap(nil) != nil {
		k.log.Info().Msg("resumed")
	}
}
