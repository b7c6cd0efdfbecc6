package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// landing is how one try ended.
type landing struct {
	entry   entry
	result  Result
	probe   bool      // it was the one that finds out whether the endpoint works again
	unread  bool      // its copy could not be read
	rescued bool      // it was not to be tried, but to become a dead letter
	gone    bool      // the lane is done with it
	due     time.Time // otherwise
}

// try makes one attempt. An attempt that has begun is finished although ctx ends: the
// lease leaves time for one.
func (s *shard) try(ctx context.Context, survey events.Survey, e entry, probing bool, recovered time.Time) (l landing) {
	l = landing{entry: e, probe: probing}
	defer s.o.o.Panics.Catch(panics.PlaceTry, func(*panics.Panic) { l = panicked(e, probing, time.Now()) })
	if l.result = s.o.deliver.Ask(ctx, survey, probing); l.result.Verdict != 0 {
		l.due = time.Now().Add(max(l.result.After, heldFor))
		return l
	}
	l.result = Result{Verdict: Held}
	w, err := s.fetch(ctx, survey, e)
	switch {
	case ctx.Err() != nil, !s.lease.May(): // asked again, for fetching may have taken seconds
		l.due = time.Now()
		return l
	case err != nil:
		s.o.trouble(survey, err, "a parked event could not be read; it waits")
		l.unread, l.due = true, time.Now().Add(FirstWait)
		return l
	case w == nil:
		l.gone = true
		return l
	}
	before := int(e.tries) - 1
	sent := *w
	sent.Attempts += before
	sent.Probe = probing
	l.result = s.o.deliver.Deliver(context.WithoutCancel(ctx), sent)
	switch l.result.Verdict {
	case Done:
		l.gone = true
	case Bury:
		l.gone = s.bury(s.kept, w, before, l.result) == nil
		l.due = time.Now().Add(FirstWait)
	case Later:
		l = s.later(l, w, before, recovered)
	case Failing, Held, Gone:
		l.due = time.Now().Add(max(l.result.After, heldFor))
	}
	return l
}

// panicked is the end of a try that was none. A panic of an event's own handling is
// the deliverer's to end; this one says nothing of the endpoint, and keeps only this
// event from being tried, unless it is the one that its endpoint is probed with.
func panicked(e entry, probing bool, now time.Time) landing {
	l := landing{entry: e, probe: probing, result: Result{Verdict: Later, Reason: "panic"}, due: now.Add(panickedFor)}
	if probing {
		l.result.Verdict = Held
	}
	return l
}

// fetch reads an event's copy. Where another event stands in its place, nothing that the
// index says can be relied on.
func (s *shard) fetch(ctx context.Context, survey events.Survey, e entry) (*Waiting, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	w, err := s.o.fetch(ctx, survey, e)
	if errors.Is(err, errAnother) {
		s.letGo()
	}
	return w, err
}

// later schedules an event that failed by itself, or buries it when its schedule
// has ended. The schedule counts from the endpoint's recovery, if that was after
// the parking: while the endpoint failed, the event only waited.
func (s *shard) later(l landing, w *Waiting, before int, recovered time.Time) landing {
	now := time.Now()
	due, ok := s.o.o.Schedule(later(w.Parked, recovered), w.EventID, now)
	l.due = due
	if ok || l.probe {
		return l
	}
	l.result.Reason = "gave-up: " + l.result.Reason
	l.gone = s.bury(s.kept, w, before, l.result) == nil
	l.due = now.Add(lastDelay)
	return l
}

// bury stores the dead letter of an event that was tried so often in its lane before;
// only after a nil error is the event done with.
func (s *shard) bury(ctx context.Context, w *Waiting, before int, r Result) error {
	ctx, cancel := context.WithTimeout(ctx, 2*askTime)
	defer cancel()
	n, first, last := w.tried(before, r.Tried)
	err := s.o.o.Dead.Bury(ctx, deadletters.Letter{
		Survey: w.Survey, EventID: w.EventID, Reason: r.Reason, Detail: r.Detail, Stack: r.Stack, Source: w.Source, Published: w.Published,
		Attempts: n, First: first, Last: last, Traceparent: w.Traceparent, Tracestate: w.Tracestate, Body: w.Body,
	})
	if err != nil {
		s.o.trouble(w.Survey, err, "a dead letter could not be stored; its event waits")
		return err
	}
	s.o.o.Buried(w.Survey, w.Source)
	return nil
}
