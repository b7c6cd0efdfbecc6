package lanes

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

const (
	feedBeat  = 30 * time.Second // an idle feed hears of the server so often; the most that the client allows
	feedPull  = 20 * feedBeat    // one pull of the feed: an idle shard costs next to nothing
	feedGone  = time.Minute      // a feed nobody reads any more is forgotten by the server
	feedAgain = time.Second      // after a feed that ended
)

// fed is one entry of the shard, or the news that all there was has come.
type fed struct {
	survey   events.Survey
	entry    entry
	foreign  bool // this version cannot read it; of the entry only the sequence is known
	caughtUp bool
}

// feed reads the shard's headers from its first event on and goes on with new
// ones, until ctx ends. A feed that breaks begins anew: what is in the index
// already is recognised.
func (s *shard) feed(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.feedOnce(ctx); err != nil && ctx.Err() == nil {
			s.o.o.Log.Debug().Err(err).Int("shard", s.lease.Shard).Msg("a shard's feed ended and begins anew")
			pause(ctx, feedAgain)
		}
	}
}

func (s *shard) feedOnce(ctx context.Context) error {
	cons, err := s.o.js.OrderedConsumer(ctx, s.o.o.Names.Lanes(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.o.o.Names.LaneShardSubject(s.lease.Shard)}, HeadersOnly: true, DeliverPolicy: jetstream.DeliverAllPolicy,
		InactiveThreshold: feedGone,
		MaxResetAttempts:  1, // then it begins anew here, where ctx is heard
	})
	if err != nil {
		return err
	}
	if cons.CachedInfo().NumPending == 0 {
		s.send(ctx, fed{caughtUp: true})
	}
	it, err := cons.Messages(jetstream.PullExpiry(feedPull), jetstream.PullHeartbeat(feedBeat))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if !s.feedOne(ctx, msg) {
			return nil
		}
	}
}

// feedOne passes one message on; it says false when ctx has ended.
func (s *shard) feedOne(ctx context.Context, msg jetstream.Msg) bool {
	meta, err := msg.Metadata()
	if err != nil {
		return true
	}
	f, err := s.index(msg, meta.Sequence.Stream)
	if err != nil {
		s.o.o.Log.Warn().Err(err).Uint64("lane_seq", meta.Sequence.Stream).Msg("a parked event cannot be read and is left alone")
	}
	if f.survey != "" && !s.send(ctx, f) {
		return false
	}
	return meta.NumPending > 0 || s.send(ctx, fed{caughtUp: true})
}

// index reads an entry from a message's headers.
func (s *shard) index(msg jetstream.Msg, seq uint64) (fed, error) {
	subject := msg.Subject()
	survey, err := events.ParseSurvey(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return fed{}, err
	}
	w, err := read(msg.Headers(), nil)
	if err != nil {
		return fed{survey: survey, entry: entry{seq: seq}, foreign: true}, err
	}
	size, _ := strconv.ParseUint(msg.Headers().Get("Nats-Msg-Size"), 10, 32) // headers-only deliveries carry it
	e := entry{src: w.Source, seq: seq, size: uint32(size), pub: seconds(w.Published)}
	if !w.DueNow {
		e.due = seconds(s.o.o.firstTry(w, time.Now()))
	}
	return fed{survey: survey, entry: e}, nil
}

// spread is over how long events are tried whose times were missed while nobody
// owned their shard.
const spread = time.Minute

// firstTry is when an event that fails by itself is tried first by a new owner.
// Times that have passed count as missed, and collapse into one.
func (o Options) firstTry(w Waiting, now time.Time) time.Time {
	due, ok := o.Schedule(w.Parked, w.EventID, w.Parked)
	if ok && due.After(now) {
		return due
	}
	return now.Add(time.Duration(w.Source * 0x9e3779b97f4a7c15 % uint64(spread)))
}

func (s *shard) send(ctx context.Context, f fed) bool {
	select {
	case s.fed <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
