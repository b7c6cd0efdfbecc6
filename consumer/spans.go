package consumer

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// The attributes of spans that no convention names.
const (
	attrSurvey  = attribute.Key("webhooks.survey")
	attrAttempt = attribute.Key("webhooks.attempt")
	attrReason  = attribute.Key("webhooks.reason")
	attrOutcome = attribute.Key("webhooks.outcome")
)

// spans make the trace of each event: below the publisher's span one for the
// event's stay in this replica, below that its phases and its attempts, and below
// each attempt the attempt's phases. They hold what a log line holds: the host,
// never the URL, and nothing secret.
//
// A nil *spans makes nothing. Every method then returns what it was given and a
// nil span, and allocates nothing.
type spans struct {
	tracer trace.Tracer
	stream string
}

func newSpans(tracer trace.Tracer, stream string) *spans {
	if tracer == nil {
		return nil
	}
	return &spans{tracer, stream}
}

// received begins the span of an event that was pulled. What lies before it, from
// the event's publication on, is its phase "pull".
func (s *spans) received(ctx context.Context, e events.Event, meta *jetstream.MsgMetadata) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nil
	}
	return s.begin(ctx, e, "pull", meta.Timestamp, meta.Sequence.Stream)
}

// waited begins the span of an event that is tried from its lane, where it has
// waited since it was parked.
func (s *spans) waited(ctx context.Context, e events.Event, parked time.Time, seq uint64) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nil
	}
	return s.begin(ctx, e, "lane", parked, seq)
}

func (s *spans) begin(ctx context.Context, e events.Event, before string, since time.Time, seq uint64) (context.Context, trace.Span) {
	now := time.Now()
	ctx, span := s.tracer.Start(publisher(ctx, e), "process "+s.stream, trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.destination.name", s.stream),
		attribute.String("messaging.message.id", e.ID),
		attribute.Int64("messaging.nats.sequence", int64(seq)), //nolint:gosec // sequences stay below 2^63
		attrSurvey.String(string(e.Survey)),
	))
	_, phase := s.tracer.Start(ctx, before, trace.WithTimestamp(since))
	phase.End(trace.WithTimestamp(now))
	return ctx, span
}

// publisher puts the publisher's span, from the event's headers, into the context.
func publisher(ctx context.Context, e events.Event) context.Context {
	if e.Traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.Traceparent, "tracestate": e.Tracestate})
}

// phase begins a span that only takes time.
func (s *spans) phase(ctx context.Context, name string) trace.Span {
	if s == nil {
		return nil
	}
	_, span := s.tracer.Start(ctx, name)
	return span
}

// attempt begins the span of one request.
func (s *spans) attempt(ctx context.Context, host string, number int) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nil
	}
	return s.tracer.Start(ctx, "POST", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", "POST"), attribute.String("server.address", host), attrAttempt.Int(number),
	))
}

// carried is the event as it is sent: with the attempt's span in the place of the
// publisher's, so that the receiver's own trace hangs below the attempt. A receiver
// is sent a trace only where the publisher had one.
func carried(e events.Event, span trace.Span) events.Event {
	if span == nil || e.Traceparent == "" {
		return e
	}
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), headers)
	e.Traceparent, e.Tracestate = headers["traceparent"], headers["tracestate"]
	return e
}

// attempted ends the span of a request, with the phases it went through.
func (s *spans) attempted(ctx context.Context, span trace.Span, a delivery.Attempt) {
	if s == nil {
		return
	}
	span.SetAttributes(attrReason.String(string(a.Reason)))
	if a.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", a.Status))
	}
	if a.Verdict != delivery.Delivered {
		span.SetStatus(codes.Error, string(a.Reason))
		span.SetAttributes(attribute.String("error.type", string(a.Reason)))
	}
	s.phases(ctx, a)
	span.End(trace.WithTimestamp(a.Started.Add(a.Took)))
}

// phases are spans one after the other: what happened between two of them, such as
// the race of dials to several addresses, belongs to neither.
func (s *spans) phases(ctx context.Context, a delivery.Attempt) {
	at := a.Started
	for _, p := range []struct {
		name string
		took time.Duration
	}{
		{"dns", a.Phases.DNS},
		{"connect", a.Phases.Connect},
		{"tls", a.Phases.TLS},
		{"response", a.Phases.FirstByte - a.Phases.DNS - a.Phases.Connect - a.Phases.TLS},
	} {
		if p.took <= 0 {
			continue
		}
		_, span := s.tracer.Start(ctx, p.name, trace.WithTimestamp(at))
		at = at.Add(p.took)
		span.End(trace.WithTimestamp(at))
	}
}

// over ends a span, when there is one.
func over(span trace.Span) {
	if span != nil {
		span.End()
	}
}

// settledAs ends an event's span with how it left this replica.
func settledAs(span trace.Span, outcome string) {
	if span == nil {
		return
	}
	span.SetAttributes(attrOutcome.String(outcome))
	span.End()
}
