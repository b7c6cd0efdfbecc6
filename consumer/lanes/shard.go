package lanes

import (
	"context"
	"sync"
	"time"

	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	starvedFor  = 50 * time.Millisecond  // other shards had all the slots
	crowdedFor  = 2 * time.Second        // a probe, while as many endpoints hang as there are slots for probes
	heldFor     = 250 * time.Millisecond // an event that was refused a start, or could not be fetched; and a shard whose lease is not good
	laneFly     = 64                     // tried at once in one lane; the endpoint's own budget is in the deliverer
	askTime     = 5 * time.Second        // one question to NATS
	panickedFor = time.Minute            // a shard, or an event of it, is left alone after a panic
	lastDelay   = 12 * time.Hour         // between tries of an event whose schedule has ended while its endpoint failed
	endTime     = 8 * time.Second        // for what has begun when a shard is let go: an attempt takes up to five, and its end is then stored
	leaveTime   = 3 * time.Second        // to remove what was delivered, after that
	lookPause   = 10 * time.Millisecond  // between looks at all lanes
	arriveTend  = 200 * time.Millisecond // the same while they arrive: looking at each event's would cost more than reading it
)

// Probes of all lanes of a shard are spread, so that an outage of ten thousand
// endpoints does not become a storm when it ends: 64 shards make 320 a second
// for the whole fleet.
const (
	paceEvery = 200 * time.Millisecond
	paceBurst = 5
)

// shard is one shard in the hands of its owner: one goroutine owns all of its
// lanes.
type shard struct {
	o     *Owner
	lease *leases.Lease
	kept  context.Context //nolint:containedctx // for what is stored of lanes: it ends a while after the shard is to be let go, whether or not NATS answers
	lanes map[events.Survey]*lane
	// survey -> the lowest sequence in its lane that this version cannot read. Kept until the
	// shard is let go: lanes come and go meanwhile.
	foreign map[events.Survey]uint64

	plan    plan   // the loop's alone
	glanced glance // at the event stream; likewise

	fed    chan fed        // from the feed
	ending <-chan struct{} // closed when the shard is to be let go; set before it is fed
	ended  chan func()
	from   *feed         // nil once it is left
	letGo  func()        // ends the loop: what the index says is not so, and the next owner reads it anew
	poked  chan struct{} // capacity one: there is something in changed
	asked  chan func()   // questions from outside
	over   chan struct{} // closed when the loop has ended: nothing is answered any more
	jobs   int           // goroutines that will send to ended
	again  time.Time     // all lanes are looked at then, see [shard.lookAgain]; zero: not for that
	pace   time.Time     // probes are spread from here
	read   bool          // all there was when the shard was taken has come
	look   time.Time     // until then nobody looks at all lanes

	mu      sync.Mutex                 // guards what follows
	changed map[events.Survey]struct{} // endpoints that are others now, which the loop has not come to
}

func newShard(kept context.Context, o *Owner, l *leases.Lease) *shard {
	return &shard{
		o: o, lease: l, kept: kept, lanes: map[events.Survey]*lane{}, foreign: map[events.Survey]uint64{},
		letGo: func() {}, fed: make(chan fed, 256), ended: make(chan func(), 64), asked: make(chan func()), over: make(chan struct{}),
		poked: make(chan struct{}, 1), changed: map[events.Survey]struct{}{},
	}
}

// poke asks for a lane to be tried at once. It never waits, and forgets none: keys that
// are rotated may change very many endpoints while the loop waits for an answer of NATS.
func (s *shard) poke(survey events.Survey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed[survey] = struct{}{}
	s.wake()
}

// wake has the loop look at what has changed; whoever calls it has mu.
func (s *shard) wake() {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// aChanged is one of the surveys whose endpoints have changed. The loop takes one at a
// time, so that what else there is to do has its turn between two writes to NATS.
func (s *shard) aChanged() (survey events.Survey, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for survey = range s.changed {
		delete(s.changed, survey)
		ok = true
		break
	}
	if len(s.changed) > 0 {
		s.wake()
	}
	return survey, ok
}

// run is the owner's loop. Events are tried while the others still arrive; what
// takes to know all of a lane waits until they have. When ctx ends it starts
// nothing more, waits for what it has started, and removes what was delivered.
func (s *shard) run(ctx context.Context) {
	ctx, s.letGo = context.WithCancel(ctx)
	defer s.letGo()
	s.ending = ctx.Done()
	s.from = s.o.join(s)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case f := <-s.fed:
			s.take(ctx, f)
		case then := <-s.ended:
			s.jobs--
			then()
		case answer := <-s.asked:
			answer()
		case <-s.poked:
			if survey, ok := s.aChanged(); ok {
				s.change(ctx, survey)
			}
		case <-timer.C:
		case <-ctx.Done():
		}
		// The timer only wakes: where something happens all the time it never fires.
		next := s.next()
		if !time.Now().Before(next) {
			s.tendAll(ctx)
			next = s.next()
		}
		timer.Reset(time.Until(next))
	}
	s.from.leave(s)
	s.from = nil
	for s.jobs > 0 {
		then := <-s.ended
		s.jobs--
		then()
	}
	s.leave(context.WithoutCancel(ctx))
	close(s.over)
}

// abandon ends what a loop that has panicked has left: ctx has ended, so nothing more
// is started. What is being tried is waited for, and taken in as far as that goes:
// what was delivered should not be sent again.
func (s *shard) abandon(ctx context.Context) {
	guard := s.o.o.Panics
	if s.from != nil {
		s.from.leave(s)
	}
	for ; s.jobs > 0; s.jobs-- {
		guard.Do(panics.PlaceLane, <-s.ended)
	}
	guard.Do(panics.PlaceLane, func() { s.leave(context.WithoutCancel(ctx)) })
	close(s.over)
}

// background does something that may take a while, and then in the loop what
// follows from it. What panics in do is nothing's end: do must catch it where
// something follows.
func (s *shard) background(do func() (then func())) {
	s.jobs++
	go func() {
		then := func() {}
		s.o.o.Panics.Do(panics.PlaceTry, func() { then = do() })
		s.ended <- then
	}()
}

// next is when all lanes are to be looked at, for what is to be done by time alone.
func (s *shard) next() time.Time {
	if !s.read {
		return s.look
	}
	now := time.Now()
	if s.plan.stale = now.Sub(s.plan.made) < planFor; !s.plan.stale {
		s.plan = plan{made: now}
		for _, l := range s.lanes {
			s.plan.heed(l)
		}
	}
	next := earlier(earlier(s.plan.next, s.again), s.plan.until())
	if next.IsZero() {
		return now.Add(time.Hour)
	}
	return later(next, s.look)
}

// plan is when the first of all lanes is to be looked at. To ask each of hundreds after
// every event costs more than the event, so for a while only those are asked that were
// tended since.
type plan struct {
	next  time.Time // zero: none is, by time alone
	made  time.Time // when all were asked
	stale bool      // something has happened since, maybe in another lane than was tended
}

// planFor is how much later than it could something is done at most that a lane was not
// tended for.
const planFor = 250 * time.Millisecond

func (p *plan) heed(l *lane) { p.next = earlier(p.next, l.wake()) }

// until is when all are asked again; zero: not by time alone.
func (p *plan) until() time.Time {
	if !p.stale {
		return time.Time{}
	}
	return p.made.Add(planFor)
}

// lookAgain has all lanes looked at after a while at the latest, for what would be done
// now and cannot be: nothing else would tell those that have all to do at once.
func (s *shard) lookAgain(after time.Duration) {
	s.again = earlier(s.again, time.Now().Add(after))
}

// take adds what the feed brought to its lane.
func (s *shard) take(ctx context.Context, f fed) {
	if f.caughtUp && s.read {
		return // every event is the last one for a moment: looking at all lanes each time would cost more than all else
	}
	if f.caughtUp {
		s.read = true
		for _, l := range s.lanes {
			l.arriving = false
		}
		s.adopt(ctx)
		s.tendAll(ctx)
		return
	}
	l := s.lane(f.survey)
	l.fedTo = max(l.fedTo, f.entry.seq)
	if l.bringing && l.awaits != 0 && l.fedTo >= l.awaits {
		l.bringing, l.awaits = false, 0
	}
	switch {
	case f.foreign:
		s.stays(l, f.entry.seq)
	case !l.add(f.entry):
		l.redundant(l.double(f.entry), time.Now())
	}
	if s.read {
		s.tend(ctx, l)
	}
}

func (s *shard) lane(survey events.Survey) *lane {
	l := s.lanes[survey]
	if l == nil {
		l = &lane{survey: survey, arriving: !s.read, foreign: s.foreign[survey], sentAt: time.Now()}
		s.lanes[survey] = l
	}
	return l
}

// stays notes a copy that this version cannot read. Nothing is left to do in its lane, so
// that ends, and the survey's next one must not remove it.
func (s *shard) stays(l *lane, seq uint64) {
	if l.foreign == 0 || seq < l.foreign {
		l.foreign, s.foreign[l.survey] = seq, seq
	}
}

// adopt looks after the endpoints of this shard that nothing waits for: those
// that failed would never be probed, and what is owed would never be brought.
func (s *shard) adopt(ctx context.Context) {
	for survey := range s.o.o.Health.All() {
		if s.o.o.Names.Shard(survey) == s.lease.Shard {
			s.tend(ctx, s.lane(survey))
		}
	}
}

func (s *shard) tendAll(ctx context.Context) {
	s.again, s.plan = time.Time{}, plan{}
	for _, l := range s.lanes {
		s.tend(ctx, l)
	}
	pause := lookPause
	if !s.read {
		pause = arriveTend
	}
	s.look = time.Now().Add(pause)
}

// change starts over with a lane whose endpoint is another one now: a failing one
// is probed first, and drains when that succeeds.
func (s *shard) change(ctx context.Context, survey events.Survey) {
	now := time.Now()
	r, known := s.o.o.Health.Of(survey)
	l := s.lanes[survey]
	if l == nil && !known {
		return
	}
	if l == nil {
		l = s.lane(survey)
	}
	if known {
		s.note(survey, "a changed endpoint could not be given a new start", func(ctx context.Context) error {
			return s.o.o.Health.Restart(ctx, survey, now)
		})
	}
	if r.Failing() {
		l.failsSince(now, FirstWait)
	}
	l.disabled = false
	l.changes++
	l.allDue()
	s.tend(ctx, l)
}

// note writes to the endpoint's health. What it says when that fails is all that
// can be done: the next one to look finds out by itself.
func (s *shard) note(survey events.Survey, otherwise string, write func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(s.kept, askTime)
	defer cancel()
	if err := write(ctx); err != nil {
		s.o.trouble(survey, err, otherwise)
	}
}

// leave removes what was delivered, so that the next owner does not send it
// again.
func (s *shard) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for _, l := range s.lanes {
		for len(l.done) > 0 && ctx.Err() == nil {
			r := l.remove(time.Now(), true)
			err := s.o.remove(ctx, l.survey, r)
			l.removed(r, err == nil, time.Now())
			if err != nil {
				s.o.trouble(l.survey, err, "delivered events could not be removed from their lane: they may be sent again")
				return
			}
		}
	}
}
