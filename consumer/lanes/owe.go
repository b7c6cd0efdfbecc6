package lanes

import (
	"context"
	"math"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
	"github.com/popsee/webhooks/events/leader"
)

// A promise of owed events is renewed while it is needed. It reaches so far ahead,
// because replicas hear of a new one a moment later than it is made; and no
// farther, because events that are promised take the way over the lane although
// the endpoint may work again.
const (
	promiseFor   = 2 * time.Minute
	promiseAgain = time.Minute
)

// unpromised is what is said of a promise that could not be made.
const unpromised = "events could not be promised for later; they go on being parked"

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
	s.glanced = glance{state, err, time.Now()}
	if err != nil {
		l.promisedTo = s.glanced.at.Add(FirstWait) // the question itself may have taken that long
		s.o.trouble(l.survey, err, unpromised)
		return
	}
	l.born = momentOf(state.born)
	from := l.promiseFrom(r, state)
	at, err := s.o.since(ctx, r, from, state)
	if err != nil {
		s.o.trouble(l.survey, err, unpromised)
		return
	}
	s.o.missed(l.survey, r, state)
	stands := health.Stream{At: at, First: state.first, Last: state.last, Born: state.born}
	if l.bringing {
		stands.Last = math.MaxUint64 - 1 // what is brought at the moment may have come farther
	}
	s.note(l.survey, unpromised, func(ctx context.Context) error {
		made, err := s.o.o.Health.Owe(ctx, l.survey, health.Promise{From: from, Until: state.at.Add(promiseFor).UTC()}, stands)
		if err != nil {
			return err
		}
		l.promisedTo, l.history = now.Add(promiseAgain), state.first
		l.heed(made.Promises())
		s.evict(l, now)
		return nil
	})
	if l.disabled {
		s.rescue(ctx, l)
	}
}

// since is the moment from which on a promise is new: when the first event it covers was
// published, or now. A backlog from before the last promise lapsed is covered by that one
// already, and in two of them it would be brought twice; nothing that came since has been
// given to anybody, so the last one is prolonged.
func (o *Owner) since(ctx context.Context, r health.Record, from uint64, state history) (time.Time, error) {
	all := r.Promises()
	if from != state.given+1 || from > state.last || len(all) == 0 || all[len(all)-1].Until.After(state.at) {
		return state.at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	m, err := leader.Read(ctx, o.js, o.o.Names.Stream(), leader.Question{Seq: from, NextFor: ">"})
	if err != nil || m.Sequence == 0 {
		return state.at, err
	}
	return m.Time, nil
}

// missed says that events owed to an endpoint may have left the event stream.
func (o *Owner) missed(survey events.Survey, r health.Record, state history) {
	if r.OwedFrom == 0 || r.OwedFrom >= state.first {
		return
	}
	o.o.Log.Error().Str("survey", string(survey)).Uint64("from", r.OwedFrom).Uint64("to", state.first-1).
		Msg("the event stream has dropped these sequences, and this survey's events among them, before they could be sent; keep more history, or enable its endpoint sooner")
}

// promiseFrom is where a promise begins: behind what the lane has seen and what
// replicas may be trying; with all that was not delivered, once nothing is. What began
// behind the end of the event stream was noted of another one. One that was made since
// has nothing that was delivered; one that was restored from a copy has nothing of after
// that moment.
func (l *lane) promiseFrom(r health.Record, state history) uint64 {
	switch {
	case l.disabled && r.From > state.last+1 && state.oldest.After(r.Since):
		return max(state.first, 1)
	case l.disabled && r.From > state.last+1:
		return state.last + 1
	case l.disabled && r.From != 0:
		return max(r.From, state.first)
	default:
		return min(max(l.highest(), state.given), state.last) + 1
	}
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
	gone := l.alone()
	if len(gone) > laneFly {
		gone, l.promisedTo = gone[:laneFly], time.Time{} // the others next
	}
	changes := l.changes
	for _, e := range gone {
		i, _ := l.find(e)
		l.fly(&l.entries[i])
		s.background(func() func() {
			g := s.lost(l.survey, e)
			return func() { s.land(ctx, l, g, changes) }
		})
	}
}

// lost buries an event of a disabled endpoint.
func (s *shard) lost(survey events.Survey, e entry) (g landing) {
	g = landing{entry: e, result: Result{Verdict: Held}, rescued: true, due: time.Now().Add(promiseAgain)}
	defer s.o.o.Panics.Catch(panics.PlaceTry, nil)
	w, err := s.fetch(s.kept, survey, e)
	switch {
	case err != nil:
		s.o.trouble(survey, err, "a parked event could not be read; it waits")
	case w == nil:
		g.gone = true
	default:
		g.gone = s.bury(s.kept, w, int(e.tries), Result{Reason: reasonDisabled, Detail: "its endpoint is disabled, and it has left the event stream"}) == nil
	}
	return g
}
