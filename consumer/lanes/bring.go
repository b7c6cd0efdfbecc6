package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	bringBelow   = 512                    // a lane that drains is filled up when it holds fewer, or nothing that can be started
	bringProbing = 8                      // and one that is only probed
	bringMost    = 2 * bringBelow         // events brought at once
	bringPause   = 250 * time.Millisecond // after everything there was has been brought, and more may come
	awaitMost    = time.Minute            // for the copies of what was brought: a feed whose server is away finds out, and reads anew, in less
	scanMost     = 10_000                 // messages looked at for them: others' events may stand on the same subject
)

// skew is by how much the clocks of a cluster's servers may differ: after a change
// of leader a later message may bear an earlier time.
const skew = 5 * time.Second

// bring brings what is owed into a lane that has room for it.
func (s *shard) bring(ctx context.Context, l *lane, r health.Record, now time.Time) {
	below, most := bringBelow, min(bringMost, max(s.o.o.maxEvents()-l.live, 1))
	if l.probing {
		below, most = bringProbing, min(most, 2*bringProbing)
	}
	if r.OwedFrom == 0 || l.disabled || l.bringing || !s.read || l.busy(below) || s.full(l) || now.Before(l.bringAt) {
		return
	}
	l.bringing, l.awaits, l.bringAt = true, 0, time.Time{}
	s.background(func() func() {
		var b brought
		err := s.o.o.Panics.Try(panics.PlaceTry, func() (err error) {
			b, err = s.bringNow(s.kept, l.survey, most)
			return err
		})
		if err != nil {
			s.o.trouble(l.survey, err, "owed events could not be brought; tried again")
		}
		return func() {
			switch {
			case err != nil:
				l.bringAt = time.Now().Add(FirstWait)
			case b.ended, b.early:
				l.bringAt = time.Now().Add(bringPause)
			}
			if l.await(b.stored, time.Now()); l.bringing && s.from != nil {
				s.from.now()
			}
			s.tend(ctx, l)
		}
	})
}

// await waits for the copies of what was brought, which are on their way here; stored is
// where the last one stands, 0 when there is none.
func (l *lane) await(stored uint64, now time.Time) {
	l.bringing, l.awaits, l.awaitsTo = stored > l.fedTo, stored, now.Add(awaitMost)
}

func (s *shard) bringNow(ctx context.Context, survey events.Survey, most int) (brought, error) {
	r, err := s.confirm(ctx, survey)
	if err != nil || r.OwedFrom == 0 {
		return brought{ended: true}, err
	}
	b, err := s.o.read(ctx, reading{survey: survey, promise: r, most: most, keep: s.o.parkAll})
	if err != nil {
		return b, err
	}
	return b, s.brought(ctx, survey, r, b)
}

func (s *shard) confirm(ctx context.Context, survey events.Survey) (health.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return s.o.o.Health.Confirm(ctx, survey)
}

// brought writes how far that went.
func (s *shard) brought(ctx context.Context, survey events.Survey, r health.Record, b brought) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if b.ended && !b.at.Before(r.OwedUntil.Add(skew)) {
		s.o.o.Log.Info().Str("survey", string(survey)).Msg("everything that was owed is in the lane, or a dead letter")
		return s.o.o.Health.Paid(ctx, survey, r.OwedUntil)
	}
	if b.to > r.OwedFrom {
		return s.o.o.Health.Brought(ctx, survey, b.to)
	}
	return nil
}

// brought is how far events were brought from the event stream.
type brought struct {
	to    uint64 // everything before this sequence is in the lane
	ended bool   // nothing more was there
	early bool   // what came next has not been given to a replica yet

	stored uint64    // where in the lanes stream the last copy stands; 0 when nothing was stored
	at     time.Time // by the server's clock, when that was so, at least
}

// history is where the event stream stands.
type history struct {
	first, last uint64
	given       uint64 // up to here everything has been given to some replica
	settled     uint64 // and up to here let go by it: delivered, parked, owed
	bytes       uint64
	at          time.Time // by the server's clock, which stamps each message
	born        time.Time // when its sequences began to count
	oldest      time.Time // when the first that is there was published; zero: none is
	config      jetstream.StreamConfig
}

func (o *Owner) history(ctx context.Context) (history, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	stream, err := o.js.Stream(ctx, o.o.Names.Stream())
	if err != nil {
		return history{}, fmt.Errorf("look at stream %s: %w", o.o.Names.Stream(), err)
	}
	info := stream.CachedInfo()
	given, settled, err := o.progress(ctx, stream, info.State.LastSeq)
	if err != nil {
		return history{}, err
	}
	return history{
		given: given, settled: settled, first: info.State.FirstSeq, last: info.State.LastSeq, bytes: info.State.Bytes,
		at: info.TimeStamp, born: layout.Born(info), oldest: info.State.FirstTime, config: info.Config,
	}, nil
}

// progress is how far the live consumer has come, of a stream that ended at last a
// moment ago. What it has not settled must not be brought: whoever has it in hand
// may be trying it, or be about to park it.
func (o *Owner) progress(ctx context.Context, stream jetstream.Stream, last uint64) (given, settled uint64, err error) {
	cons, err := stream.Consumer(ctx, o.o.Names.Consumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at consumer %s: %w", o.o.Names.Consumer(), err)
	}
	info := cons.CachedInfo()
	behind := info.NumPending > 0
	if !behind && info.Delivered.Stream < last { // on a cluster the consumer may not have heard of the latest
		if behind, err = walk.Left(ctx, o.js, o.o.Names.Stream(), layout.FiltersOf(info.Config), info.Delivered.Stream+1, last); err != nil {
			return 0, 0, fmt.Errorf("look behind consumer %s: %w", o.o.Names.Consumer(), err)
		}
	}
	switch {
	case behind:
		return info.Delivered.Stream, info.AckFloor.Stream, nil
	case info.NumAckPending > 0:
		return last, info.AckFloor.Stream, nil
	default:
		return last, last, nil
	}
}

// owed makes an event of the event stream one that waits; false says that it is
// none of this survey's. What cannot be read is a dead letter already.
func (o *Owner) owed(m walk.Message, survey events.Survey) (Waiting, bool) {
	e, err := o.o.Names.DecodeMax(m.Subject, m.Header, m.Body, o.o.MaxEvent)
	if err != nil || e.Survey != survey {
		return Waiting{}, false
	}
	return Waiting{
		Survey: survey, EventID: e.ID, Source: m.Sequence, Published: m.Time, Parked: time.Now(), Reason: "owed", DueNow: true,
		Traceparent: e.Traceparent, Tracestate: e.Tracestate, Body: e.Body,
	}, true
}

// parkAll stores events in their lane, and returns where in the lanes stream the
// last copy stands.
func (o *Owner) parkAll(ctx context.Context, ws []Waiting) (last uint64, err error) {
	if len(ws) >= batchLeast {
		if last, err = parkBatch(ctx, o.js, o.o.Names, ws); err == nil {
			return last, nil
		}
	}
	for _, w := range ws {
		seq, err := parkOne(ctx, o.js, o.o.Names, w)
		if err != nil {
			return last, err
		}
		last = max(last, seq)
	}
	return last, nil
}
