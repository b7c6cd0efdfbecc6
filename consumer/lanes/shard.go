package lanes

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

const (
	starvedFor = 50 * time.Millisecond  // other shards had all the slots
	heldFor    = 250 * time.Millisecond // an event that was refused a start, or could not be fetched
	laneFly    = 64                     // tried at once in one lane; the endpoint's own budget is in the deliverer
	askTime    = 5 * time.Second        // one question to NATS
	lastDelay  = 12 * time.Hour         // between tries of an event whose schedule has ended while its endpoint failed
)

// shard is one shard in the hands of its owner: one goroutine owns all of its
// lanes.
type shard struct {
	o     *Owner
	lease *leases.Lease
	lanes map[events.Survey]*lane

	fed     chan fed // from the feed
	landed  chan landing
	pokes   chan events.Survey
	flights int  // being tried
	starved bool // something could be started, and there was no slot
}

// landing is how one try ended.
type landing struct {
	survey events.Survey
	entry  entry
	result Result
	gone   bool      // it has left the lane
	due    time.Time // otherwise
}

func newShard(o *Owner, l *leases.Lease) *shard {
	return &shard{
		o: o, lease: l, lanes: map[events.Survey]*lane{},
		fed: make(chan fed, 256), landed: make(chan landing, 64), pokes: make(chan events.Survey, 256),
	}
}

// poke asks for a lane to be tried at once; a full queue means that much is
// being looked at anyway.
func (s *shard) poke(survey events.Survey) {
	select {
	case s.pokes <- survey:
	default:
	}
}

// run is the owner's loop. When ctx ends it starts nothing more and waits for
// what it has started.
func (s *shard) run(ctx context.Context) {
	feeding, stopFeed := context.WithCancel(ctx)
	fedUp := make(chan struct{})
	go func() {
		defer close(fedUp)
		s.feed(feeding)
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case f := <-s.fed:
			s.take(ctx, f)
		case l := <-s.landed:
			s.land(ctx, l)
		case survey := <-s.pokes:
			s.change(ctx, survey)
		case <-timer.C:
			s.startAll(ctx)
		case <-ctx.Done():
		}
		timer.Reset(s.untilNext())
	}
	stopFeed()
	for s.flights > 0 {
		<-s.landed
		s.flights--
	}
	<-fedUp
}

// untilNext is how long nothing can be started by time alone.
func (s *shard) untilNext() time.Duration {
	if s.starved {
		return starvedFor
	}
	var next time.Time
	for _, l := range s.lanes {
		if w := l.wake(); !w.IsZero() && (next.IsZero() || w.Before(next)) {
			next = w
		}
	}
	if next.IsZero() {
		return time.Hour
	}
	return max(time.Until(next), time.Millisecond)
}

// take adds what the feed brought to its lane.
func (s *shard) take(ctx context.Context, f fed) {
	if f.caughtUp {
		s.settleHealth(ctx)
		s.startAll(ctx)
		return
	}
	l := s.lanes[f.survey]
	if l == nil {
		l = &lane{survey: f.survey}
		s.lanes[f.survey] = l
	}
	if !l.add(f.entry) {
		s.drop(ctx, f.entry.seq)
		return
	}
	s.startLane(ctx, l)
}

// drop removes a copy of an event that waits already.
func (s *shard) drop(ctx context.Context, seq uint64) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := s.o.remove(ctx, seq); err != nil {
		s.o.o.Log.Debug().Err(err).Msg("a redundant copy stays until the shard is read again")
	}
}

// settleHealth clears the records of endpoints nothing waits for: nobody would
// probe them.
func (s *shard) settleHealth(ctx context.Context) {
	for survey := range s.o.o.Health.Failing() {
		if s.o.o.Names.Shard(survey) == s.lease.Shard && s.lanes[survey] == nil {
			s.clear(ctx, survey)
		}
	}
}

func (s *shard) clear(ctx context.Context, survey events.Survey) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := s.o.o.Health.Clear(ctx, survey); err != nil {
		s.o.o.Log.Warn().Err(err).Msg("an endpoint's recovery could not be told; its events go on being parked")
	}
}

func (s *shard) startAll(ctx context.Context) {
	s.starved = false
	for _, l := range s.lanes {
		s.startLane(ctx, l)
	}
}

// startLane starts what can be started of a lane: while the lease is good and
// there are slots.
func (s *shard) startLane(ctx context.Context, l *lane) {
	l.release(time.Now())
	if r, failing := s.o.o.Health.Of(l.survey); failing {
		l.failsSince(r.NextProbe)
	}
	for l.flying < laneFly && ctx.Err() == nil && s.lease.May() {
		select {
		case s.o.slots <- struct{}{}:
		default:
			s.starved = true
			return
		}
		e, ok := l.next(time.Now())
		if !ok {
			<-s.o.slots
			return
		}
		s.flights++
		probing, recovered := l.probing, l.recovered
		go func() {
			s.landed <- s.try(ctx, l.survey, e, probing, recovered)
			<-s.o.slots
		}()
	}
}

// change starts over with a lane whose endpoint is another one now.
func (s *shard) change(ctx context.Context, survey events.Survey) {
	l := s.lanes[survey]
	if l == nil {
		return
	}
	if _, failing := s.o.o.Health.Of(survey); failing {
		l.failsSince(time.Now())
	}
	l.outdated = l.flying > 0
	l.allDue() // a failing one is probed first, and drains when that succeeds
	s.startLane(ctx, l)
}

// try makes one attempt and removes the event from the lane when it is done
// with. What has begun is finished although ctx ends: the lease leaves time for
// one attempt.
func (s *shard) try(ctx context.Context, survey events.Survey, e entry, probing bool, recovered time.Time) landing {
	ctx = context.WithoutCancel(ctx)
	l := landing{survey: survey, entry: e, result: Result{Verdict: Held}, due: time.Now().Add(heldFor)}
	w, err := s.fetch(ctx, survey, e.seq)
	switch {
	case err != nil:
		s.o.o.Log.Warn().Err(err).Str("survey", string(survey)).Msg("a parked event could not be read; it waits")
		l.due = time.Now().Add(FirstWait)
		return l
	case w == nil:
		l.gone = true
		return l
	}
	w.Attempts += int(e.tries) - 1
	w.Probe = probing
	l.result = s.o.deliver.Deliver(ctx, *w)
	switch l.result.Verdict {
	case Done:
		l.gone = s.removed(ctx, e.seq)
	case Bury:
		l.gone = s.bury(ctx, w, e.seq, l.result)
	case Later:
		l = s.later(ctx, l, w, probing, recovered)
	case Failing, Held:
		l.due = time.Now().Add(max(l.result.After, heldFor))
	}
	return l
}

func (s *shard) fetch(ctx context.Context, survey events.Survey, seq uint64) (*Waiting, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return s.o.fetch(ctx, survey, seq)
}

// later schedules an event that failed by itself, or buries it when its schedule
// has ended and its endpoint has been working for as long.
func (s *shard) later(ctx context.Context, l landing, w *Waiting, probing bool, recovered time.Time) landing {
	now := time.Now()
	due, ok := s.o.o.Schedule(w.Parked, w.EventID, now)
	l.due = due
	if ok || probing {
		return l
	}
	if !recovered.IsZero() {
		// Its schedule counts from the recovery: while the endpoint failed, the event
		// only waited.
		if l.due, ok = s.o.o.Schedule(recovered, w.EventID, now); ok {
			return l
		}
	}
	l.result.Reason = "gave-up: " + l.result.Reason
	l.gone = s.bury(ctx, w, l.entry.seq, l.result)
	l.due = now.Add(lastDelay)
	return l
}

// bury stores the dead letter, and only then removes the event.
func (s *shard) bury(ctx context.Context, w *Waiting, seq uint64, r Result) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*askTime)
	defer cancel()
	err := s.o.o.Dead.Bury(ctx, deadletters.Letter{
		Survey: w.Survey, EventID: w.EventID, Reason: r.Reason, Detail: r.Detail, Source: w.Source, Published: w.Published,
		Attempts: w.Attempts, First: w.Parked, Last: time.Now(), Traceparent: w.Traceparent, Tracestate: w.Tracestate, Body: w.Body,
	})
	if err != nil {
		s.o.o.Log.Warn().Err(err).Msg("a dead letter could not be stored; its event waits")
		return false
	}
	return s.removed(ctx, seq)
}

// removed removes a copy that is done with. Until it succeeds the event would be
// sent again, so it goes on trying while the lease is ours.
func (s *shard) removed(ctx context.Context, seq uint64) bool {
	for {
		ask, cancel := context.WithTimeout(ctx, askTime)
		err := s.o.remove(ask, seq)
		cancel()
		if err == nil {
			return true
		}
		if !s.lease.May() {
			s.o.o.Log.Warn().Err(err).Msg("a delivered event could not be removed from its lane: it may be sent again")
			return false
		}
		time.Sleep(heldFor)
	}
}

// land takes a try's end into its lane, and into the endpoint's health.
func (s *shard) land(ctx context.Context, g landing) {
	s.flights--
	l := s.lanes[g.survey]
	l.landed(g.entry.src, g.gone, g.due)
	now := time.Now()
	switch {
	case g.result.Verdict == Done:
		if l.works(now) {
			s.o.o.Log.Info().Str("survey", string(g.survey)).Int("waiting", l.live).Msg("endpoint works again; its lane drains")
			s.clear(ctx, g.survey)
		}
	case g.result.Verdict == Held && g.result.Probe:
		l.failsSince(now)
	case g.result.Verdict == Held && !g.gone:
		l.hold(g.due)
	case g.result.Verdict != Held && l.outdated && l.probing:
		l.outdated = false
		l.allDue()
	case g.result.Verdict == Failing, g.result.Verdict == Later && l.probing:
		s.failed(ctx, l, g.result, now)
	}
	if l.live == 0 && l.flying == 0 {
		delete(s.lanes, g.survey)
		if l.probing {
			s.clear(ctx, g.survey)
		}
	} else {
		s.startLane(ctx, l)
	}
}

func (s *shard) failed(ctx context.Context, l *lane, r Result, now time.Time) {
	next := l.fails(now, r.After, rand.Float64()) //nolint:gosec // jitter is no secret
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := s.o.o.Health.Failed(ctx, l.survey, r.Reason, now, next); err != nil {
		s.o.o.Log.Warn().Err(err).Msg("an endpoint's failure could not be told to the other replicas")
	}
}
