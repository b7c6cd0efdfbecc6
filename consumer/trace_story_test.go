package consumer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

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
// its lane and is delivered: every span is in the publisher's trace, and each
// request names the span of its own attempt as its parent.
func TestOneTraceFromThePublisherToTheReceiver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		w.tracer = provider.Tracer("story")
		r := w.endpoint("s1")
		r.answers(500, 200)
		w.start()
		id := w.publishTraced("s1")
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
		for _, rep := range w.replicas {
			rep.leave()
		}

		stubs := spans.GetSpans()
		byID := map[string]tracetest.SpanStub{}
		var posts []tracetest.SpanStub
		names := map[string]int{}
		for _, s := range stubs {
			if got := s.SpanContext.TraceID().String(); got != publishersTrace {
				t.Errorf("span %s is in trace %s, want the publisher's", s.Name, got)
			}
			byID[s.SpanContext.SpanID().String()] = s
			names[s.Name]++
			if s.Name == "POST" {
				posts = append(posts, s)
			}
			if s.EndTime.Before(s.StartTime) {
				t.Errorf("span %s ends before it begins", s.Name)
			}
		}
		for name, n := range map[string]int{"process RESPONSES": 2, "pull": 1, "lane": 1, "look up": 1, "admit": 2, "POST": 2} {
			if names[name] != n {
				t.Errorf("there are %d spans %q, want %d; all: %v", names[name], name, n, names)
			}
		}
		slices.SortFunc(posts, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
		for i, q := range r.seen() {
			fields := strings.Split(q.header.Get(delivery.HeaderTraceparent), "-")
			if len(fields) != 4 || fields[1] != publishersTrace || fields[2] != posts[i].SpanContext.SpanID().String() {
				t.Errorf("request %d carries traceparent %v, want that of its own span %s", i+1, fields, posts[i].SpanContext.SpanID())
			}
			if got := q.header.Get(delivery.HeaderTracestate); got != "vendor=1" {
				t.Errorf("request %d carries tracestate %q", i+1, got)
			}
			process := byID[posts[i].Parent.SpanID().String()]
			if process.Name != "process RESPONSES" || process.Parent.SpanID().String() != publishersSpan {
				t.Errorf("request %d hangs below span %q, whose parent is %s", i+1, process.Name, process.Parent.SpanID())
			}
		}
	})
}
