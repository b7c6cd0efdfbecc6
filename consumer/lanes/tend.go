package lanes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// tend does for a lane what is to be done now.
func (s *shard) tend(ctx context.Context, l *lane) {
	now := time.Now()
	l.tended = now
	defer s.plan.heed(l)
	if ctx.Err() != nil || !s.may() {
		return
	}
	l.release(now)
	r, _ := s.o.o.Health.Of(l.survey)
	s.heed(l, r)
	if s.disabledBefore(ctx, l, r, now) {
		s.change(ctx, l.survey)
		return
	}
	s.promise(ctx, l, r, now)
	s.salvage(ctx, l, now)
	s.start(ctx, l)
	s.bring(ctx, l, r, now) // knows by then whether anything is left to start
	s.clean(ctx, l, now)
	s.end(l)
}

// may says whether the lease is good. Where it is not it may be renewed yet.
func (s *shard) may() bool {
	ok := s.lease.May()
	if !ok {
		s.lookAgain(heldFor)
	}
	return ok
}

// heed takes over what is known of an endpoint, from whoever found it out.
func (s *shard) heed(l *lane, r health.Record) {
	l.heed(r.Promises())
	l.disabled = r.Disabled != nil
	if r.Failing() {
		l.failsSince(r.NextProbe, r.NextProbe.Sub(r.LastFailure))
	}
	if l.recovered.IsZero() {
		l.recovered = r.Recovered
	}
}

// disabledBefore says whether an endpoint is disabled in a revision that it no longer has:
// a 410 may come back after the change, nobody may have owned the shard, and what was
// heard may not have been noted. It is asked as often as a promise is renewed.
func (s *shard) disabledBefore(ctx context.Context, l *lane, r health.Record, now time.Time) bool {
	if !s.read || !l.disabled || now.Before(l.promisedTo) || !s.o.o.Another(ctx, l.survey, r.Disabled.Revision) {
		return false
	}
	l.promisedTo = now.Add(FirstWait) // if it cannot be noted now either
	return true
}

// start starts what can be started: while the lease is good and there are slots.
func (s *shard) start(ctx context.Context, l *lane) {
	for l.flying < laneFly && ctx.Err() == nil && s.may() {
		now := time.Now()
		if _, ok := l.choose(now); !ok {
			return
		}
		release, ok := s.slot(l, now)
		if !ok {
			return
		}
		e, ok := l.next(now)
		if !ok {
			release()
			return
		}
		probing, recovered, changes := l.probing, l.recovered, l.changes
		s.background(func() func() {
			defer release()
			g := s.try(ctx, l.survey, e, probing, recovered)
			return func() { s.land(ctx, l, g, changes) }
		})
	}
}

// slot takes what a try needs: one of the slots of all shards, and a probe's
// place in the pace besides. A lane takes one only while more are free than it has:
// else a few that drain slowly would hold them all, for each takes its own again as
// soon as a try has ended. Probes never take more than half of the slots: an endpoint
// that hangs holds one for five seconds.
func (s *shard) slot(l *lane, now time.Time) (release func(), ok bool) {
	slots := s.o.slots
	if l.probing && l.live > 0 && l.flying == 0 {
		if s.pace.After(now.Add((paceBurst - 1) * paceEvery)) {
			l.probeAt = s.pace.Add(-(paceBurst - 1) * paceEvery)
			return nil, false
		}
		slots = s.o.probes
	} else if l.flying > 0 && l.flying >= cap(slots)-len(slots) {
		return nil, false // until one of its own ends
	}
	select {
	case slots <- struct{}{}:
	default:
		if slots == s.o.probes {
			l.probeAt = now.Add(crowdedFor/2 + rand.N(crowdedFor)) //nolint:gosec // jitter is no secret
		} else {
			s.lookAgain(starvedFor)
		}
		return nil, false
	}
	if l.probing && l.live > 0 && l.flying == 0 {
		s.pace = later(s.pace, now).Add(paceEvery)
	}
	return func() { <-slots }, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// land takes a try's end into its lane, and into the endpoint's health. It was started
// after so many changes of the endpoint.
func (s *shard) land(ctx context.Context, l *lane, g landing, changes int) {
	now, outdated := time.Now(), changes != l.changes
	undelivered := g.gone && g.result.Verdict != Done
	if undelivered && l.replaced(g.entry) {
		g.gone, g.due = false, now // what was given up, or erased, has been handed back meanwhile
	}
	if g.result.Verdict == Held {
		if !g.rescued {
			l.unsent(g.entry)
		}
		l.landed(g.entry, g.gone, time.Time{}, now) // the lane is held, not the event
	} else {
		l.landed(g.entry, g.gone, g.due, now)
		l.sentAt = now
	}
	if undelivered {
		l.leave(g.entry)
	}
	switch r := g.result; {
	case r.Verdict == Done:
		if l.works(now) {
			s.recovered(l, now)
		}
	case r.Verdict == Bury && r.Reason == ReasonNoEndpoint && l.probing:
		l.works(now) // there is nothing to probe any more
		s.note(l.survey, "a removed endpoint's failure is still known", func(ctx context.Context) error {
			return s.o.o.Health.Works(ctx, l.survey, time.Time{})
		})
	case r.Verdict == Held && r.Probe:
		l.failsSince(now, FirstWait)
	case r.Verdict == Held && !g.gone && !outdated:
		l.hold(g.due)
		if g.unread && g.probe {
			l.probes++ // another one in turn: else nobody would find out that the endpoint works
		}
	case r.Verdict == Held:
	case outdated && l.probing:
		l.allDue()
	case r.Verdict == Gone:
		s.disable(l, r, AnsweredGone(now, r.Revision))
	case l.probing && !g.probe:
		l.hear(r.After, now) // it flew when the endpoint began to fail, and says nothing new
	case r.Verdict == Failing, r.Verdict == Later && l.probing:
		s.failed(l, r, now)
	}
	s.tend(ctx, l)
}

// rememberAfter is how long an endpoint must have failed for its recovery to be
// remembered: the schedules of its events count from there.
const rememberAfter = 10 * time.Minute

func (s *shard) recovered(l *lane, now time.Time) {
	s.o.o.Log.Info().Str("survey", string(l.survey)).Int("waiting", l.live).Msg("endpoint works again; its lane drains")
	var remember time.Time
	if r, _ := s.o.o.Health.Of(l.survey); (l.live > 0 || l.arriving) && r.Failing() && now.Sub(r.Since) > rememberAfter {
		remember = now.UTC()
	}
	s.note(l.survey, "an endpoint's recovery could not be told; its events go on being parked", func(ctx context.Context) error {
		return s.o.o.Health.Works(ctx, l.survey, remember)
	})
}

func (s *shard) failed(l *lane, r Result, now time.Time) {
	next := l.fails(now, r.After, rand.Float64()) //nolint:gosec // jitter is no secret
	if since, ok := s.tooLong(l.survey, now); ok {
		s.disable(l, r, health.Disabled{
			At: now.UTC(), By: health.ByService, Why: fmt.Sprintf("it failed for %s: %s", spoken(now.Sub(since)), r.Reason), Revision: r.Revision,
		})
		return
	}
	s.note(l.survey, "an endpoint's failure could not be told to the other replicas", func(ctx context.Context) error {
		return s.o.o.Health.Failed(ctx, l.survey, health.Failure{At: now.UTC(), Reason: r.Reason, NextProbe: next.UTC(), Waiting: l.live})
	})
}

// tooLong says whether an endpoint has failed for as long as it may, and since when. A
// person has to end what follows, so the bucket is asked: that it has worked in another
// owner's hands may not have been heard of here.
func (s *shard) tooLong(survey events.Survey, now time.Time) (since time.Time, ok bool) {
	long := func(r health.Record) bool { return r.Failing() && now.Sub(r.Since) >= s.o.o.disableAfter() }
	if r, _ := s.o.o.Health.Of(survey); !long(r) {
		return time.Time{}, false
	}
	ctx, cancel := context.WithTimeout(s.kept, askTime)
	defer cancel()
	r, err := s.o.o.Health.Confirm(ctx, survey)
	return r.Since, err == nil && long(r)
}

// spoken is a long time as people say it.
func spoken(d time.Duration) string {
	if days := int(d.Hours() / 24); days > 1 {
		return fmt.Sprintf("%d days", days)
	}
	return d.Round(time.Minute).String()
}

func (s *shard) disable(l *lane, r Result, d health.Disabled) {
	s.o.o.Log.Warn().Str("survey", string(l.survey)).Str("by", d.By).Str("why", d.Why).Int("waiting", l.live).
		Msg("endpoint disabled; its events are kept until it is changed or enabled: webhooks endpoint enable")
	s.note(l.survey, "an endpoint could not be disabled; it goes on being probed", func(ctx context.Context) error {
		return s.o.o.Health.Disable(ctx, l.survey, d, r.Reason)
	})
}

// AnsweredGone disables an endpoint that answered 410 Gone.
func AnsweredGone(at time.Time, revision uint64) health.Disabled {
	return health.Disabled{At: at.UTC(), By: health.ByEndpoint, Why: "it answered 410 Gone", Revision: revision}
}

// clean removes copies that are done with.
func (s *shard) clean(ctx context.Context, l *lane, now time.Time) {
	r := l.remove(now, false)
	if r.empty() {
		return
	}
	s.background(func() func() {
		err := s.o.o.Panics.Try(panics.PlaceTry, func() error { return s.o.remove(s.kept, l.survey, r) })
		if err != nil {
			s.o.trouble(l.survey, err, "delivered events could not be removed from their lane; tried again")
		}
		return func() {
			l.removed(r, err == nil, time.Now())
			s.tend(ctx, l)
		}
	})
}

// end forgets a lane in which nothing is left to do.
func (s *shard) end(l *lane) {
	if l.live > 0 || l.flying > 0 || l.removing || len(l.done) > 0 || l.bringing || !s.read {
		return
	}
	r, known := s.o.o.Health.Of(l.survey)
	if known && (r.OwedFrom != 0 || r.Disabled != nil) {
		return
	}
	if on := time.Until(r.LastFailure.Add(FirstWait)); known && on > 0 {
		s.lookAgain(on) // what has failed just now is on its way here
		return
	}
	delete(s.lanes, l.survey)
	if known {
		s.note(l.survey, "an endpoint's recovery could not be told; its events go on being parked", func(ctx context.Context) error {
			return s.o.o.Health.Rests(ctx, l.survey, r.LastFailure)
		})
	}
}
