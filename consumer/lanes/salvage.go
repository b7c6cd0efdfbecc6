package lanes

import (
	"context"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// salvageEvery is how often what is owed to an endpoint is looked at for
// being about to leave the event stream by age: how old it is takes a look at the
// messages. How full the stream is costs nothing to know.
const salvageEvery = time.Hour

// salvage turns what is owed to an endpoint that is disabled or fails, and is about to
// leave the event stream, into dead letters: there nobody would ever find it again.
func (s *shard) salvage(ctx context.Context, l *lane, r health.Record, state history, now time.Time) {
	if r.OwedFrom == 0 || l.bringing || !state.endangers(r) || !state.full() && now.Before(l.salvageAt) {
		return
	}
	l.salvageAt = now.Add(min(salvageEvery, max(state.config.MaxAge/40, promiseAgain)))
	l.bringing, l.awaits = true, 0
	why := Result{Reason: "failing", Detail: "its endpoint fails, and it was about to leave the event stream"}
	if l.disabled {
		why = Result{Reason: "disabled", Detail: "its endpoint is disabled, and it was about to leave the event stream"}
	}
	s.background(func() func() {
		var b brought
		err := s.o.o.Panics.Try(panics.PlaceTry, func() (err error) {
			b, err = s.salvageNow(s.kept, l.survey, r, state, why)
			return err
		})
		if err != nil {
			s.o.trouble(l.survey, err, "owed events that are about to leave the event stream could not be buried; tried again")
		}
		return func() {
			l.bringing = false
			switch {
			case err != nil, b.early:
				l.salvageAt = time.Time{} // with the next promise
			case !b.ended:
				l.salvageAt, l.promisedTo = time.Time{}, time.Time{} // there is more: now
			}
			s.tend(ctx, l)
		}
	})
}

func (s *shard) salvageNow(ctx context.Context, survey events.Survey, r health.Record, state history, why Result) (brought, error) {
	b, err := s.o.read(ctx, reading{
		survey: survey, promise: r, most: bringMost,
		meant: func(m walk.Message) bool { return state.leaving(m.Sequence, m.Time) },
		keep: func(ctx context.Context, batch []Waiting) (uint64, error) {
			for _, w := range batch {
				if err := s.bury(ctx, &w, why); err != nil {
					return 0, err
				}
			}
			return 0, nil // nothing of it is in the lane
		},
	})
	if err != nil {
		return b, err
	}
	return b, s.brought(ctx, survey, r, b)
}

// endangers says whether something owed may be about to leave the event stream. How old
// it is takes a look at the messages; what stands there is no older than the first. Since
// when its endpoint fails says nothing: it may have worked meanwhile, or been changed.
func (h history) endangers(r health.Record) bool {
	return h.leaving(r.OwedFrom, h.oldest)
}

// leaving says whether a message is among the next to leave the event stream: in
// the last tenth of its time, or the first tenth of a stream that is full to nine
// tenths.
func (h history) leaving(seq uint64, published time.Time) bool {
	if age := h.config.MaxAge; age > 0 && h.at.Sub(published) > age-age/10 {
		return true
	}
	return h.full() && seq < h.first+(h.last-h.first)/10
}

// full says whether the stream drops its oldest messages for new ones, or soon will.
func (h history) full() bool {
	return h.config.MaxBytes > 0 && h.bytes > uint64(h.config.MaxBytes)/10*9 || //nolint:gosec // above 0
		h.config.MaxMsgs > 0 && h.last-h.first > uint64(h.config.MaxMsgs)/10*9
}
