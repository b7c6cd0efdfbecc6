package lanes

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// A promise of owed events is renewed while it is needed. It reaches so far ahead,
// because replicas hear of a new one a moment later than it is made; and no
// farther, because events that are promised take the way over the lane although
// the endpoint may work again.
const (
	promiseFor   = 2 * time.Minute
	promiseAgain = time.Minute
)

// skew is by how much the clocks of a cluster's servers may differ: after a change
// of leader a later message may bear an earlier time.
const skew = 5 * time.Second

const (
	bringBelow   = 512                    // a lane that drains is filled up when it holds fewer
	bringProbing = 8                      // and one that is only probed
	bringMost    = 2 * bringBelow         // events brought at once
	bringPause   = 250 * time.Millisecond // after everything there was has been brought, and more may come
	scanMost     = 10_000                 // messages looked at for them: others' events may stand on the same subject
)

// promise promises what the lane cannot hold: everything from a sequence on is
// brought later, so that replicas let it go. It is made, and renewed, while the
// lane is full or its endpoint disabled; while an endpoint to which something is
// owed still fails; and never otherwise.
func (s *shard) promise(ctx context.Context, l *lane, r health.Record, now time.Time) {
	if !s.read || !s.full(l) && !l.disabled && (r.OwedFrom == 0 || !l.probing) {
		l.promisedTo = time.Time{}
		return
	}
	if now.Before(l.promisedTo) {
		return
	}
	l.promisedTo = now.Add(FirstWait) // if it fails
	state, err := s.o.history(ctx)
	if err != nil {
		s.o.o.Log.Warn().Err(err).Str("survey", string(l.survey)).Msg("events could not be promised for later; they go on being parked")
		return
	}
	from := l.promiseFrom(r, state.first)
	s.o.missed(l.survey, r, state)
	s.note(ctx, "events could not be promised for later; they go on being parked", func(ctx context.Context) error {
		made, err := s.o.o.Health.Owe(ctx, l.survey, from, state.at.Add(promiseFor).UTC(), state.first)
		if err != nil {
			return err
		}
		l.promisedTo, l.history = now.Add(promiseAgain), state.first
		l.heed(made.OwedFrom, made.OwedUntil)
		s.evict(l, now)
		return nil
	})
	if l.disabled {
		s.rescue(ctx, l)
	}
}

// missed says that events owed to an endpoint may have left the event stream.
func (o *Owner) missed(survey events.Survey, r health.Record, state history) {
	if r.OwedFrom == 0 || r.OwedFrom >= state.first {
		return
	}
	o.o.Log.Error().Str("survey", string(survey)).Uint64("from", r.OwedFrom).Uint64("to", state.first-1).
		Msg("the event stream has dropped these sequences, and this survey's events among them, before they could be sent; keep more history, or enable its endpoint sooner")
}

// promiseFrom is where a promise begins: with what the lane has not seen; with
// all that was not delivered, once nothing is.
func (l *lane) promiseFrom(r health.Record, first uint64) uint64 {
	if l.disabled && r.From != 0 {
		return max(r.From, first)
	}
	return l.seen + 1
}

// full says whether a lane holds as much as it may.
func (s *shard) full(l *lane) bool {
	return l.live >= s.o.o.maxEvents() || l.bytes >= s.o.o.maxBytes()
}

// evict makes room: what a promise covers is brought again from the event stream.
// The promise must be certain: what this replica remembers of one may be older
// than its own last word on how far it has brought, and what has been brought is
// not brought again. So never while something is being brought, either.
func (s *shard) evict(l *lane, now time.Time) {
	if l.bringing {
		return
	}
	if n := l.evict(now); n > 0 {
		s.o.o.Log.Info().Str("survey", string(l.survey)).Int("events", n).Msg("events left a full or disabled lane; they are owed")
	}
}

// rescue turns what only a disabled endpoint's lane has, because it has left the
// event stream, into dead letters.
func (s *shard) rescue(ctx context.Context, l *lane) {
	gone := l.before(l.history)
	if len(gone) > laneFly {
		gone, l.promisedTo = gone[:laneFly], time.Time{} // the others next
	}
	for _, e := range gone {
		i, _ := l.find(e.src)
		l.fly(&l.entries[i])
		s.background(func() func() {
			g := s.lost(ctx, l.survey, e)
			return func() { s.land(ctx, l, g) }
		})
	}
}

// lost buries an event of a disabled endpoint.
func (s *shard) lost(ctx context.Context, survey events.Survey, e entry) landing {
	ctx = context.WithoutCancel(ctx)
	g := landing{entry: e, result: Result{Verdict: Held}, due: time.Now().Add(promiseAgain)}
	w, err := s.fetch(ctx, survey, e.seq)
	switch {
	case err != nil:
		s.o.o.Log.Warn().Err(err).Str("survey", string(survey)).Msg("a parked event could not be read; it waits")
	case w == nil:
		g.gone = true
	default:
		g.gone = s.bury(ctx, w, Result{Reason: "disabled", Detail: "its endpoint is disabled, and it has left the event stream"})
	}
	return g
}

// bring brings what is owed into a lane that has room for it.
func (s *shard) bring(ctx context.Context, l *lane, r health.Record, now time.Time) {
	below, most := bringBelow, min(bringMost, max(s.o.o.maxEvents()-l.live, 1))
	if l.probing {
		below, most = bringProbing, min(most, 2*bringProbing)
	}
	if r.OwedFrom == 0 || l.disabled || l.bringing || !s.read || l.live >= below || s.full(l) || now.Before(l.bringAt) {
		return
	}
	l.bringing, l.bringAt = true, time.Time{}
	s.background(func() func() {
		b, err := s.bringNow(context.WithoutCancel(ctx), l.survey, most)
		if err != nil {
			s.o.o.Log.Warn().Err(err).Str("survey", string(l.survey)).Msg("owed events could not be brought; tried again")
		}
		return func() {
			l.bringing = false
			switch {
			case err != nil:
				l.bringAt = time.Now().Add(FirstWait)
			case b.ended:
				l.bringAt = time.Now().Add(bringPause)
			}
			s.tend(ctx, l)
		}
	})
}

func (s *shard) bringNow(ctx context.Context, survey events.Survey, most int) (brought, error) {
	r, err := s.confirm(ctx, survey)
	if err != nil || r.OwedFrom == 0 {
		return brought{ended: true}, err
	}
	b, err := s.o.bring(ctx, survey, r, most)
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	if b.ended && !b.at.Before(r.OwedUntil.Add(skew)) {
		s.o.o.Log.Info().Str("survey", string(survey)).Msg("everything that was owed is in the lane")
		return s.o.o.Health.Paid(ctx, survey, r.OwedUntil)
	}
	if b.to > r.OwedFrom {
		return s.o.o.Health.Brought(ctx, survey, b.to)
	}
	return nil
}

// brought is how far events were brought from the event stream.
type brought struct {
	to    uint64    // everything before this sequence is in the lane
	ended bool      // nothing more was there
	at    time.Time // by the server's clock, when that was so, at least
}

// history is where the event stream stands.
type history struct {
	first, last uint64
	at          time.Time // by the server's clock, which stamps each message
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
	return history{first: info.State.FirstSeq, last: info.State.LastSeq, at: info.TimeStamp, config: info.Config}, nil
}

// bring parks up to most of the events that are owed.
func (o *Owner) bring(ctx context.Context, survey events.Survey, r health.Record, most int) (brought, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*askTime)
	defer cancel()
	state, err := o.history(ctx)
	if err != nil {
		return brought{}, err
	}
	o.missed(survey, r, state)
	cons, err := o.js.CreateConsumer(ctx, o.o.Names.Stream(), jetstream.ConsumerConfig{
		Description: "brings what is owed to an endpoint", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.OwedFrom,
		AckPolicy: jetstream.AckNonePolicy, FilterSubjects: layout.Filters(state.config, o.ownSubjects(state.config, survey)),
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return brought{}, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
	}
	defer func() { _ = o.js.DeleteConsumer(ctx, o.o.Names.Stream(), cons.CachedInfo().Name) }() // it would end by itself
	return o.bringFrom(ctx, cons, survey, r, state, most)
}

// ownSubjects are where a survey's events may stand, as far as the stream has
// them: on its own subject, and on the one without a survey, among others'.
func (o *Owner) ownSubjects(stream jetstream.StreamConfig, survey events.Survey) []string {
	var found []string
	for _, ours := range []string{o.o.Names.Subjects()[0], o.o.Names.Subject(survey)} {
		for _, theirs := range stream.Subjects {
			if layout.Covers(theirs, ours) {
				found = append(found, ours)
				break
			}
		}
	}
	return found
}

func (o *Owner) bringFrom(ctx context.Context, cons jetstream.Consumer, survey events.Survey, r health.Record, state history, most int) (brought, error) {
	b := brought{to: r.OwedFrom, at: state.at}
	var batch []Waiting
	var size, scanned int
	park := func() error {
		err := o.parkAll(ctx, batch)
		batch, size = batch[:0], 0
		return err
	}
	for n := 0; n < most && scanned < scanMost; {
		pulled, err := cons.FetchNoWait(min(batchMost, most-n))
		if err != nil {
			return b, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
		}
		got := 0
		for msg := range pulled.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return b, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
			}
			got, scanned = got+1, scanned+1
			if meta.Sequence.Consumer != uint64(scanned) {
				return b, fmt.Errorf("read stream %s: a message was lost on its way", o.o.Names.Stream())
			}
			if !meta.Timestamp.Before(r.OwedUntil.Add(skew)) {
				b.ended, b.at = true, meta.Timestamp
				break
			}
			if w, ok := o.owed(msg, meta, survey); ok && meta.Timestamp.Before(r.OwedUntil) {
				batch, size, n = append(batch, w), size+len(w.Body), n+1
			}
			if size >= batchBytes {
				if err := park(); err != nil {
					return b, err
				}
			}
			b.to = meta.Sequence.Stream + 1
		}
		if err := pulled.Error(); err != nil {
			return b, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
		}
		if err := park(); err != nil {
			return b, err
		}
		if b.ended {
			return b, nil
		}
		if got == 0 {
			return o.wholeRead(ctx, cons, scanned, b, state)
		}
	}
	return b, nil
}

// wholeRead insists that a pull brought nothing because nothing was left: what an
// answer on its way was lost with would never be brought again.
func (o *Owner) wholeRead(ctx context.Context, cons jetstream.Consumer, scanned int, b brought, state history) (brought, error) {
	info, err := cons.Info(ctx)
	if err != nil {
		return b, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
	}
	if info.Delivered.Consumer != uint64(scanned) {
		return b, fmt.Errorf("read stream %s: a message was lost on its way", o.o.Names.Stream())
	}
	if info.NumPending == 0 {
		b.ended, b.to = true, max(b.to, state.last+1)
	}
	return b, nil
}

// owed makes an event of the event stream one that waits; false says that it is
// none of this survey's. What cannot be read is a dead letter already.
func (o *Owner) owed(msg jetstream.Msg, meta *jetstream.MsgMetadata, survey events.Survey) (Waiting, bool) {
	e, err := o.o.Names.DecodeMax(msg.Subject(), msg.Headers(), msg.Data(), o.o.MaxEvent)
	if err != nil || e.Survey != survey {
		return Waiting{}, false
	}
	return Waiting{
		Survey: survey, EventID: e.ID, Source: meta.Sequence.Stream, Published: meta.Timestamp, Parked: time.Now(), Reason: "owed", DueNow: true,
		Traceparent: e.Traceparent, Tracestate: e.Tracestate, Body: e.Body,
	}, true
}

// parkAll stores events in their lane.
func (o *Owner) parkAll(ctx context.Context, ws []Waiting) error {
	if len(ws) >= batchLeast && parkBatch(ctx, o.js, o.o.Names, ws) == nil {
		return nil
	}
	for _, w := range ws {
		if err := Park(ctx, o.js, o.o.Names, w); err != nil {
			return err
		}
	}
	return nil
}
