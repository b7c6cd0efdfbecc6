package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// handle takes one delivered message to its end. ctx ends when this replica is
// told to stop, work when it must.
func (c *Consumer) handle(ctx, work context.Context, msg jetstream.Msg, by *hand) {
	meta, err := msg.Metadata()
	if err != nil {
		// Nothing delivers to a pull's inbox but the server; without a position
		// the message cannot even be named.
		c.o.Log.Error().Err(err).Str("subject", msg.Subject()).Msg("message without metadata left alone")
		return
	}
	seq := meta.Sequence.Stream
	if seq <= c.mark.Bound() || c.mark.Alarm() != nil {
		c.lookSoon() // settled long ago and delivered again: the consumer's state was lost
		return
	}
	in := arrival{msg, meta, c.live, by}
	if f := c.enter(in); f != nil {
		c.conclude(work, in, f, func() conclusion { return c.consider(ctx, work, in) })
	}
}

// conclude decides about a message in hand and settles it. Where that panics nothing
// is told to the server: the message comes again.
func (c *Consumer) conclude(work context.Context, in arrival, f *flight, consider func() conclusion) (end conclusion) {
	defer c.o.Panics.Catch(panics.PlaceSettle, func(*panics.Panic) {
		in.way.inflight.leave(f.seq)
		end = conclusion{action: actLeave, outcome: outcomeLeft}
	})
	return c.finish(work, in, f, consider())
}

// enter takes a message in hand. It is nil when there is nothing to do: an attempt
// runs, which has taken over this delivery, or it was settled moments ago and is
// acknowledged again.
func (c *Consumer) enter(in arrival) *flight {
	f, found := in.way.inflight.enter(in.Sequence.Stream, in.Msg, time.Now())
	switch found {
	case entryRunning:
		c.metrics.redelivered.Inc()
		return nil
	case entrySettled:
		c.metrics.reacked.Inc()
		c.ack(in.Msg)
		return nil
	default:
		return f
	}
}

// consider decides what becomes of a message: decode, look up, attempt, decide.
func (c *Consumer) consider(ctx, work context.Context, in arrival) (end conclusion) {
	var span trace.Span
	defer func() { end.span = span }()
	defer c.o.Panics.Catch(panics.PlaceEvent, func(p *panics.Panic) { end = c.panicked(p, in) })
	e, err := c.o.Layout.Names.DecodeMax(in.Subject(), in.Headers(), in.Data(), c.o.maxBytes())
	if meant := in.way.meant; meant != nil && !meant(c.o.Layout.Names.SubjectSurvey(in.Subject()), e) {
		return conclusion{action: actAck, outcome: outcomeSkipped}
	}
	if err != nil {
		return c.refuse(err, in)
	}
	work, span = c.spans.received(work, e, in.MsgMetadata)
	looking := c.spans.phase(work, "look up")
	target, limits, err := c.endpoints.Target(work, e.Survey)
	over(looking)
	if err != nil {
		return c.withoutTarget(err, limits, e, in)
	}
	if r, known := c.health.Of(e.Survey); known {
		if end, ended := c.unwell(r, limits, e, in); ended {
			return end
		}
	}
	return c.tryNow(ctx, work, target, limits, e, in)
}

// unwell ends an event whose endpoint is known not to work: the owner of its lane
// probes, and nobody else tries. One that is promised to be brought into the lane
// is let go; the others are parked.
func (c *Consumer) unwell(r health.Record, limits config.Limits, e events.Event, in arrival) (end conclusion, ended bool) {
	switch {
	case r.Owes(in.Sequence.Stream, in.Timestamp):
		return conclusion{action: actOwe, outcome: outcomeOwed, survey: e.Survey}, true
	case r.DisabledAt(limits.Revision):
		return c.parking(e, in, 0, "disabled", true), true
	case r.Probed():
		return c.parking(e, in, 0, r.Reason, true), true
	default:
		return conclusion{}, false
	}
}

// tryNow attempts an event, rides over a blip, and decides by how that ended.
func (c *Consumer) tryNow(ctx, work context.Context, target *delivery.Target, limits config.Limits, e events.Event, in arrival) conclusion {
	var got admitted // the last that was let through
	var refused admit.Refusal
	tries := 0
	a := ride(ctx, func(n int) (delivery.Attempt, bool) {
		if n > 1 { // seconds later: the owner may have mended the URL or changed the secret
			var err error
			if target, limits, err = c.endpoints.Target(work, e.Survey); err != nil {
				return got.attempt, false // removed or unusable by now: its lane knows what becomes of such events
			}
		}
		// The server counts deliveries, not tries: a crash may make a number repeat.
		next := c.attemptAdmitted(work, target, c.share(limits, liveShare), e, in.Sequence.Stream, delivery.Meta{Number: int(in.NumDelivered) - 1 + n, Replay: in.way.replay})
		if next.refusal != "" {
			refused = next.refusal
			return got.attempt, false
		}
		got, tries = next, n
		return got.attempt, !got.failing
	})
	switch {
	case tries == 0:
		end := c.parking(e, in, 0, string(refused), true)
		end.refused = refused
		return end
	case a.Verdict == delivery.Gone:
		c.tellGone(work, e.Survey, a)
	case got.failing:
		c.tellFailing(work, e.Survey, a)
	}
	end := conclusion{action: decide(a.Verdict, ctx.Err() != nil), outcome: outcomeOf(a.Verdict)}
	switch end.action {
	case actPark:
		// An event whose own schedule has no say is tried when the lane is.
		return c.parking(e, in, tries, string(a.Reason), got.failing || got.ours || a.Verdict == delivery.Gone)
	case actBury:
		end.letter = c.letterOf(string(a.Reason), in)
		end.letter.Survey, end.letter.EventID, end.letter.Detail, end.letter.Attempts = e.Survey, e.ID, a.Detail, a.Number
		end.letter.First, end.letter.Last = a.Started, a.Started
	case actAck, actOwe, actLeave, actReturn:
	}
	return end
}

// parking sends an event to its survey's lane. dueNow says that the event's own
// schedule has no say: it was not tried, or its endpoint fails as a whole.
func (c *Consumer) parking(e events.Event, in arrival, tries int, reason string, dueNow bool) conclusion {
	return conclusion{action: actPark, outcome: outcomeParked, parked: &lanes.Waiting{
		Survey: e.Survey, EventID: e.ID, Source: in.Sequence.Stream, Published: in.Timestamp, Parked: time.Now(), Attempts: tries,
		Reason: reason, DueNow: dueNow, Traceparent: e.Traceparent, Tracestate: e.Tracestate, Replay: in.way.replay, Body: e.Body,
	}}
}

// tellFailing tells every replica that an endpoint fails as a whole. Should that
// not work, each finds out by itself.
func (c *Consumer) tellFailing(work context.Context, survey events.Survey, a delivery.Attempt) {
	ctx, cancel := context.WithTimeout(work, healthTime)
	defer cancel()
	now := time.Now()
	if err := c.health.Failed(ctx, survey, health.Failure{
		At: now.UTC(), Reason: string(a.Reason), NextProbe: now.Add(cmp.Or(a.After, lanes.FirstWait)).UTC(), Waiting: 1,
	}); err != nil {
		c.quiet.Warn(err, "an endpoint's failure could not be told to the other replicas")
	}
}

// tellGone tells every replica that an endpoint wants nothing any more.
func (c *Consumer) tellGone(work context.Context, survey events.Survey, a delivery.Attempt) {
	ctx, cancel := context.WithTimeout(work, healthTime)
	defer cancel()
	d := lanes.AnsweredGone(time.Now(), a.Revision)
	if err := c.health.Disable(ctx, survey, d, string(a.Reason)); err != nil {
		c.quiet.Warn(err, "an endpoint that answered 410 could not be disabled")
		return
	}
	c.o.Log.Warn().Str("survey", string(survey)).Str("why", d.Why).Msg("endpoint disabled; its events are kept until it is changed or enabled: webhooks endpoint enable")
}

// healthTime bounds telling the others of a failing endpoint.
const healthTime = 3 * time.Second

// refuse ends an event that can never be delivered as it is.
func (c *Consumer) refuse(err error, in arrival) conclusion {
	var bad *events.BadEvent
	if !errors.As(err, &bad) {
		bad = &events.BadEvent{Reason: events.Malformed, Detail: err.Error()}
	}
	c.o.Log.Error().Uint64("seq", in.Sequence.Stream).Stringer("reason", bad.Reason).Int64("offset", bad.Offset).
		Str("detail", bad.Detail).Msg("event refused: it can never be delivered, and becomes a dead letter")
	letter := c.letterOf(bad.Reason.String(), in)
	letter.Detail = fmt.Sprintf("byte %d: %s", bad.Offset, bad.Detail)
	return conclusion{action: actBury, outcome: outcomeDead, letter: letter}
}

// withoutTarget ends an event whose endpoint is not there, or cannot be known.
func (c *Consumer) withoutTarget(err error, limits config.Limits, e events.Event, in arrival) conclusion {
	if errors.Is(err, config.ErrNoEndpoint) && limits.Revision != 0 {
		if r, _ := c.health.Of(e.Survey); r.Owes(in.Sequence.Stream, in.Timestamp) {
			return conclusion{action: actOwe, outcome: outcomeOwed, survey: e.Survey}
		}
		return c.parking(e, in, 0, "disabled", true) // switched off is not removed: it waits until it is switched on
	}
	if errors.Is(err, config.ErrNoEndpoint) {
		if in.way.replay == "" { // of an event that is sent again, what became of it the first time stands
			c.o.History.Settled(deliverylog.KindNoWebhook, e.Survey, in.Sequence.Stream)
		}
		return conclusion{action: actAck, outcome: outcomeNoEndpoint}
	}
	if errors.Is(err, config.ErrInvalidEndpoint) || errors.Is(err, config.ErrUnsealable) {
		// It stays so until somebody changes it: waiting unacknowledged, its events
		// would keep everybody else's from being delivered.
		c.unusable(err)
		return c.parking(e, in, 0, "unusable-endpoint", true)
	}
	c.quiet.Warn(fmt.Errorf("event %d of survey %s: %w", in.Sequence.Stream, e.Survey, err), "the endpoint cannot be used now; the event waits")
	return conclusion{action: actLeave, outcome: outcomeLeft}
}

// unusable tells of an endpoint that nothing can be sent to, and counts why. It is
// called for an event that arrives and again whenever its lane would send something,
// so that both counters rise, and the alert on them fires, for as long as events wait.
func (c *Consumer) unusable(err error) {
	switch {
	case errors.Is(err, config.ErrUnsealable):
		c.metrics.unsealable.Inc()
	case errors.Is(err, config.ErrInvalidEndpoint):
		c.metrics.unusable.Inc()
	}
	c.quiet.Warn(err, "an endpoint cannot be used until somebody mends it; its events wait in their lane")
}

// panicked keeps an event whose handling has panicked from doing it again.
func (c *Consumer) panicked(p *panics.Panic, in arrival) conclusion {
	c.o.Log.Error().Uint64("seq", in.Sequence.Stream).Str("panic", p.What).Msg("panic while handling an event; it becomes a dead letter")
	letter := c.letterOf(string(delivery.ReasonPanic), in)
	letter.Detail, letter.Stack = p.What, p.Stack
	return conclusion{action: actBury, outcome: outcomeDead, letter: letter}
}

// letterOf is the dead letter of a message of the event stream. The survey and
// the id are read from what cannot be decoded as far as they can be.
func (c *Consumer) letterOf(reason string, in arrival) *deadletters.Letter {
	return &deadletters.Letter{
		Reason: reason, Survey: c.o.Layout.Names.SubjectSurvey(in.Subject()), Source: in.Sequence.Stream, Published: in.Timestamp, Body: in.Data(),
	}
}

func outcomeOf(v delivery.Verdict) string {
	switch v {
	case delivery.Delivered:
		return outcomeDelivered
	case delivery.Dead:
		return outcomeDead
	default:
		return outcomeLeft
	}
}
