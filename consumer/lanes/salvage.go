package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// salvageEvery is how often what is owed to an endpoint is looked at for
// being about to leave the event stream by age: how old it is takes a look at the
// messages. How full the stream is costs nothing to know.
const salvageEvery = time.Hour

// salvageLate is how long before it leaves the event stream an event is saved whose lane
// drains: it may have its turn yet.
const salvageLate = 10 * time.Minute

// Why what was owed became a dead letter before it left the event stream.
const (
	reasonDisabled = "disabled"
	reasonFailing  = "failing"
	reasonNoRoom   = "no-room"
)

// salvage saves what is owed and about to leave the event stream, for there nobody would
// ever find it again. It is looked at for as long as anything is owed, whatever keeps that
// from being brought: an endpoint may be switched off, or slower than its events come.
func (s *shard) salvage(ctx context.Context, l *lane, now time.Time) {
	r, _ := s.o.o.Health.Of(l.survey)
	if !s.read || r.OwedFrom == 0 {
		l.lookAt = time.Time{}
		return
	}
	if l.bringing || now.Before(l.lookAt) {
		return
	}
	looked, err := s.glance(ctx)
	if err != nil {
		l.lookAt = time.Now().Add(FirstWait)
		s.o.trouble(l.survey, err, "whether owed events are about to leave the event stream could not be looked at; tried again")
		return
	}
	l.lookAt = now.Add(promiseAgain)
	if !looked.endangers(r.OwedFrom, !now.Before(l.salvageAt)) {
		return
	}
	leaves, every, early := looked.leaving, salvageEvery, looked.config.MaxAge/10
	if l.drains(now) {
		leaves, every, early = looked.leavingNow, salvageLate/4, salvageLate
	}
	l.salvageAt = now.Add(min(every, max(looked.config.MaxAge/40, promiseAgain)))
	s.salvageWhat(ctx, l, leaves, looked.config.MaxAge-early)
}

// glance is where the event stream stood a moment ago. A thousand lanes may ask in the
// same minute, and all wait where nobody answers.
type glance struct {
	history history
	err     error
	at      time.Time
}

// glanceFor is how long a glance is good.
const glanceFor = FirstWait

func (s *shard) glance(ctx context.Context) (*history, error) {
	if time.Since(s.glanced.at) > glanceFor {
		state, err := s.o.history(ctx)
		s.glanced = glance{state, err, time.Now()}
	}
	return &s.glanced.history, s.glanced.err
}

// drains says whether something has been sent from a lane lately.
func (l *lane) drains(now time.Time) bool {
	return !l.disabled && !l.probing && now.Sub(l.sentAt) < salvageLate
}

// salvageWhat saves in the background what leaves, while nothing else is brought. An
// event of so great an age is looked at again.
func (s *shard) salvageWhat(ctx context.Context, l *lane, leaves func(seq uint64, published time.Time) bool, age time.Duration) {
	l.bringing, l.awaits = true, 0
	save := saving{shard: s, room: s.room(l), why: l.unsaved()}
	s.background(func() func() {
		var b brought
		err := s.o.o.Panics.Try(panics.PlaceTry, func() (err error) {
			b, err = save.now(s.kept, l.survey, leaves)
			return err
		})
		if err != nil {
			s.o.trouble(l.survey, err, "owed events that are about to leave the event stream could not be saved; tried again")
		}
		return func() {
			switch {
			case err != nil, b.early:
				l.salvageAt = time.Time{} // with the next look
			case !b.ended:
				l.salvageAt, l.lookAt = time.Time{}, time.Time{} // there is more: now
			default: // how old what is owed is stands in the messages alone: the oldest that stays was just read
				l.salvageAt = later(l.salvageAt, b.at.Add(age))
			}
			l.await(b.stored, time.Now())
			s.tend(ctx, l)
		}
	})
}

// unsaved is why what has no place in a lane becomes a dead letter.
func (l *lane) unsaved() Result {
	switch {
	case l.disabled:
		return Result{Reason: reasonDisabled, Detail: "its endpoint is disabled, and it was about to leave the event stream"}
	case l.probing:
		return Result{Reason: reasonFailing, Detail: "its endpoint fails, and it was about to leave the event stream"}
	default:
		return Result{Reason: reasonNoRoom, Detail: "its lane was full, and it was about to leave the event stream: its endpoint is switched off, cannot be used, or takes less than comes"}
	}
}

// saving saves events from the event stream: into their lane as far as that has room,
// and else as dead letters.
type saving struct {
	*shard
	room room
	why  Result
}

func (s *saving) now(ctx context.Context, survey events.Survey, leaves func(seq uint64, published time.Time) bool) (brought, error) {
	r, err := s.confirm(ctx, survey)
	if err != nil || r.OwedFrom == 0 {
		return brought{ended: true}, err
	}
	b, err := s.o.read(ctx, reading{
		survey: survey, promise: r, most: bringMost, keep: s.keep,
		meant: func(m walk.Message) bool { return leaves(m.Sequence, m.Time) },
	})
	if err != nil {
		return b, err
	}
	return b, s.brought(ctx, survey, r, b)
}

func (s *saving) keep(ctx context.Context, batch []Waiting) (last uint64, err error) {
	n := s.room.take(batch)
	last, err = s.o.parkAll(ctx, batch[:n])
	if errors.Is(err, ErrFull) {
		s.room, n = room{}, 0 // one that was stored before all lanes were full is in two places: better than in none
	} else if err != nil {
		return last, err
	}
	for _, w := range batch[n:] {
		if err := s.bury(ctx, &w, 0, s.why); err != nil {
			return last, err
		}
	}
	return last, nil
}

// leaving says whether a message is among the next to leave the event stream.
func (h history) leaving(seq uint64, published time.Time) bool {
	return h.aged(published) || h.next(seq)
}

// endangers says whether something that is owed from a sequence on may be about to leave
// the event stream. By age that is often so for all that is owed: how old it is takes a look
// at the messages, and none is older than the first of the stream.
func (h history) endangers(from uint64, byAge bool) bool {
	return h.next(from) || byAge && h.aged(h.oldest)
}

// aged says whether a message is in the last tenth of its time.
func (h history) aged(published time.Time) bool {
	age := h.config.MaxAge
	return age > 0 && h.at.Sub(published) > age-age/10
}

// next says whether a message is in the first tenth of a stream that is full to nine
// tenths.
func (h history) next(seq uint64) bool {
	return h.full() && seq < h.first+(h.last-h.first)/10
}

// leavingNow says whether a message is among those that may leave the event stream before
// it is looked at twice more: a full stream drops what was published in a minute in about
// that time, and a hundredth of it may go at a stroke.
func (h history) leavingNow(seq uint64, published time.Time) bool {
	if !h.leaving(seq, published) {
		return false
	}
	if age := h.config.MaxAge; age > 0 && h.at.Sub(published) > age-salvageLate {
		return true
	}
	return h.full() && (seq < h.first+(h.last-h.first)/100 || published.Sub(h.oldest) < salvageLate)
}

// full says whether the stream drops its oldest messages for new ones, or soon will.
func (h history) full() bool {
	return h.config.MaxBytes > 0 && h.bytes > uint64(h.config.MaxBytes)/10*9 || //nolint:gosec // above 0
		h.config.MaxMsgs > 0 && h.last-h.first > uint64(h.config.MaxMsgs)/10*9
}

// room is what a lane can still take.
type room struct {
	events int
	bytes  int64
}

// room is what there is in a lane; of a disabled endpoint's none, for nothing leaves it.
func (s *shard) room(l *lane) room {
	if l.disabled {
		return room{}
	}
	return room{events: s.o.o.maxEvents() - l.live, bytes: s.o.o.maxBytes() - l.bytes}
}

// take takes what the first of some events need, and returns how many those are.
func (r *room) take(ws []Waiting) (n int) {
	for n < len(ws) && r.events > 0 && r.bytes > 0 {
		r.events, r.bytes = r.events-1, r.bytes-int64(len(ws[n].Body))
		n++
	}
	return n
}
