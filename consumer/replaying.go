package consumer

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

const (
	replaySlots    = 512                    // events of replays in hand at once, all jobs together: the live consumer has slots of its own
	replayPatience = 5 * time.Second        // a busy endpoint's event waits in hand so long before its lane is the better place
	replayAgain    = 500 * time.Millisecond // between its tries to be let through
)

// yieldingObserved takes in how far the live consumer is behind.
func (c *Consumer) yieldingObserved(lag uint64) {
	c.metrics.yielding.Set(0)
	if c.yields.Behind(lag) {
		c.metrics.yielding.Set(1)
	}
}

// needsAll says that replays have to wait: the live consumer is behind, or has
// stopped by itself.
func (c *Consumer) needsAll() bool { return c.yields.Now() || c.mark.Alarm() != nil }

// fromReplays sends stored events again, through the same steps as the live path.
type fromReplays struct{ *Consumer }

// Begin implements replay.Deliverer.
func (c fromReplays) Begin(job replay.Record) replay.Sending {
	s := &sending{c: c.Consumer, way: &way{replay: job.ID, inflight: newInflight(), meant: meantBy(job)}, alone: job.Response != ""}
	if len(job.Surveys) == 1 {
		s.alone, s.only = true, job.Surveys[0]
	}
	s.room = lanes.NewRooms(c.js, c.o.Layout.Names, lanes.RoomOptions{Events: c.o.LaneEvents, Bytes: c.o.LaneBytes, Panics: c.o.Panics})
	c.ways.add(s.way)
	return s
}

// meantBy says which events a job means.
func meantBy(job replay.Record) func(events.Survey, events.Event) bool {
	surveys := map[events.Survey]bool{}
	for _, s := range job.Surveys {
		surveys[s] = true
	}
	return func(subject events.Survey, e events.Event) bool {
		if job.Response != "" && e.ID != job.Response {
			return false
		}
		if e.Survey != "" {
			subject = e.Survey
		}
		return len(surveys) == 0 || surveys[subject]
	}
}

// sending is one replay in the hands of this replica.
type sending struct {
	c     *Consumer
	way   *way
	room  *lanes.Rooms
	alone bool          // it is about one survey or response: nobody else's events wait behind one that waits
	only  events.Survey // that survey; empty when there are several, or it is not known
}

// Most implements replay.Sending. What could not even wait in hand for its own endpoint
// would come in vain.
func (s *sending) Most() int {
	if s.only == "" {
		return math.MaxInt
	}
	return s.c.seats.free(s.only)
}

// End implements replay.Sending.
func (s *sending) End() { s.c.ways.remove(s.way) }

// Send implements replay.Sending.
func (s *sending) Send(ctx, work context.Context, msg jetstream.Msg) replay.Result {
	meta, err := msg.Metadata()
	if err != nil {
		return replay.Result{Outcome: replay.Left}
	}
	in := arrival{msg, meta, s.way, nil}
	r := replay.Result{Outcome: replay.Repeated, Sequence: meta.Sequence.Stream}
	f := s.c.enter(in)
	if f == nil {
		return r
	}
	end := s.c.conclude(work, in, f, func() conclusion {
		end := s.consider(ctx, work, in)
		if end.action == actReturn {
			end.action = actLeave // a replay is in no hurry: it may have been paused, and go on here
		}
		return end
	})
	r.Outcome, r.Survey = replayOutcomes[end.outcome], end.survey
	return r
}

// replayOutcomes are the outcomes as replays count them.
var replayOutcomes = map[string]replay.Outcome{
	outcomeDelivered: replay.Delivered, outcomeNoEndpoint: replay.NoWebhook, outcomeDead: replay.Dead, outcomeParked: replay.Parked,
	outcomeOwed: replay.Owed, outcomeLeft: replay.Left, outcomeSkipped: replay.Skipped, outcomeLeftOut: replay.LeftOut,
}

// consider is the live path's, with more patience: a replay is in no hurry, so an
// event whose endpoint is busy waits in hand where it has a seat, and no lane is
// filled for it.
func (s *sending) consider(ctx, work context.Context, in arrival) conclusion {
	var w waiting
	defer func() { s.c.seats.leave(w.seat) }()
	for began := time.Now(); ; {
		end := s.c.consider(ctx, work, in)
		w.long = time.Since(began)
		switch s.weigh(work, end, &w) {
		case placeTaken:
			return end
		case placeNone:
			return conclusion{action: actAck, outcome: outcomeLeftOut, survey: end.parked.Survey, span: end.span}
		case placeBack:
			return conclusion{action: actLeave, outcome: outcomeLeft, span: end.span}
		case placeLater:
			settledAs(end.span, outcomeLeft)
		}
		if !wait.For(ctx, replayAgain) {
			return conclusion{action: actReturn, outcome: outcomeLeft}
		}
	}
}

// waiting is how an event of a replay waits in hand.
type waiting struct {
	long time.Duration // since it was taken in hand
	seat events.Survey // whose seat it has; empty when it has none
}

// place is where an event of a replay goes.
type place uint8

const (
	placeTaken place = iota // where the live path would have it
	placeLater              // nowhere yet: it waits in hand
	placeBack               // back to the server, which brings it again
	placeNone               // its lane has no room, and nobody knows when it will
)

// weigh looks for a seat where one helps, and asks for room only where that decides.
func (s *sending) weigh(work context.Context, end conclusion, w *waiting) place {
	if end.action != actPark {
		return placeTaken
	}
	survey := end.parked.Survey
	if busy(end.refused) && w.seat == "" && s.c.seats.take(survey) {
		w.seat = survey
	}
	if p := s.placeOf(end, *w, false); p == placeLater && w.long < replayPatience {
		return p
	}
	room, err := s.room.Take(work, survey, len(end.parked.Body))
	if err != nil {
		s.c.quiet.Warn(err, "the room in a lane is not known; a replayed event waits")
		return placeBack
	}
	return s.placeOf(end, *w, room)
}

// placeOf is the only place that decides it. A lane with little room is left to live
// events. An endpoint that is merely busy is waited for, by as many events as have a
// seat; for one that fails that could be days. What has neither seat nor room would
// hold up others: it is left out, unless it is all that the job is about.
func (s *sending) placeOf(end conclusion, w waiting, room bool) place {
	waits := busy(end.refused) && w.seat != ""
	switch {
	case end.action != actPark:
		return placeTaken
	case waits && w.long < replayPatience:
		return placeLater
	case room:
		return placeTaken
	case waits:
		return placeLater
	case busy(end.refused) && s.alone:
		return placeBack
	default:
		return placeNone
	}
}

// busy says whether a refusal is one that passes while the endpoint works.
func busy(r admit.Refusal) bool { return r != "" && r != admit.Failing }
