package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

const (
	publishersTrace = "0af7651916cd43dd8448eb211c80319c"
	publishersSpan  = "b7ad6b7169203331"
)

// publishTraced publishes one completed response with the publisher's trace.
func (w *world) publishTraced(survey string) string {
	w.t.Helper()
	w.seq++
	id := "traced"
	body := `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"` + survey + `"},"response":{"id":"traced"}}`
	ack, err := w.js.PublishMsg(w.t.Context(), &nats.Msg{
		Subject: w.layout.Names.Subject(events.Survey(survey)), Data: []byte(body),
		Header: nats.Header{"traceparent": {"00-" + publishersTrace + "-" + publishersSpan + "-01"}, "tracestate": {"vendor=1"}},
	})
	must(w.t, err)
	w.published[id] = &published{id: id, survey: survey, seq: ack.Sequence, body: body}
	return id
}

// TestOneTraceFromThePublisherToTheReceiver follows an event that fails, waits in
// its lane and is delivered: every span is in the publisher's trace and below the
// one it is a part of, and each request names the span of its own attempt as its
// parent.
func TestOneTraceFromThePublisherToTheReceiver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		exported := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exported))
		w.tracer = provider.Tracer("story")
		r := w.endpoint("s1")
		r.follows(answer{status: 500, after: 20 * time.Millisecond}, answer{status: 200, after: 30 * time.Millisecond})
		w.start()
		id := w.publishTraced("s1")
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
		for _, rep := range w.replicas {
			rep.leave()
		}

		spans := exported.GetSpans()
		above, err := trace.SpanIDFromHex(publishersSpan)
		must(t, err)
		const want = `
process RESPONSES, consumer
  pull, internal
  look up, internal
  admit, internal
  POST, client, 20ms
    response, internal, 20ms
process RESPONSES, consumer
  lane, internal
  admit, internal
  POST, client, 30ms
    response, internal, 30ms
`
		if diff := cmp.Diff(want, "\n"+below(spans, above, "")); diff != "" {
			t.Errorf("the spans below the publisher's (-want +got):\n%s", diff)
		}
		if drawn := strings.Count(want, "\n") - 1; len(spans) != drawn {
			t.Errorf("there are %d spans, of which %d stand below the publisher's", len(spans), drawn)
		}
		for _, s := range spans {
			if got := s.SpanContext.TraceID().String(); got != publishersTrace {
				t.Errorf("span %s is in trace %s, want the publisher's", s.Name, got)
			}
		}
		wantTimes(t, spans)
		posts := named(spans, "POST")
		for i, q := range r.seen() {
			fields := strings.Split(q.header.Get(delivery.HeaderTraceparent), "-")
			if len(fields) != 4 || fields[1] != publishersTrace || fields[2] != posts[i].SpanContext.SpanID().String() {
				t.Errorf("request %d carries traceparent %v, want that of its own span %s", i+1, fields, posts[i].SpanContext.SpanID())
			}
			if got := q.header.Get(delivery.HeaderTracestate); got != "vendor=1" {
				t.Errorf("request %d carries tracestate %q", i+1, got)
			}
		}
	})
}

// below draws the spans below one, in the order in which they ended; of those that
// waited for the receiver, how long they took.
func below(spans tracetest.SpanStubs, one trace.SpanID, indent string) string {
	var b strings.Builder
	for _, s := range spans {
		if s.Parent.SpanID() != one {
			continue
		}
		fmt.Fprintf(&b, "%s%s, %s", indent, s.Name, s.SpanKind)
		if s.Name == "POST" || s.Name == "response" {
			fmt.Fprintf(&b, ", %s", s.EndTime.Sub(s.StartTime))
		}
		b.WriteString("\n" + below(spans, s.SpanContext.SpanID(), indent+"  "))
	}
	return b.String()
}

// named are the spans of a name, in the order in which they ended.
func named(spans tracetest.SpanStubs, name string) (some tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			some = append(some, s)
		}
	}
	return some
}

// wantTimes wants the event waited for from its publication on, and from when it was
// parked, each time until it was taken in hand.
func wantTimes(t *testing.T, spans tracetest.SpanStubs) {
	t.Helper()
	hands, pull, lane := named(spans, "process RESPONSES"), named(spans, "pull")[0], named(spans, "lane")[0]
	if got := pull.EndTime; !got.Equal(hands[0].StartTime) || pull.StartTime.After(got) {
		t.Errorf("it was pulled from %s to %s, and in hand from %s on", pull.StartTime, got, hands[0].StartTime)
	}
	if !lane.StartTime.Equal(named(spans, "POST")[0].EndTime) || !lane.EndTime.Equal(hands[1].StartTime) {
		t.Errorf("it was in its lane from %s to %s; the attempt before ended %s, and it was in hand from %s on",
			lane.StartTime, lane.EndTime, named(spans, "POST")[0].EndTime, hands[1].StartTime)
	}
}
