package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/popsee/webhooks/delivery"
)

// TestTheSpansOfAnAttempt makes spans of attempts that came differently far: one for
// each phase there was, one after the other, all below the attempt's.
func TestTheSpansOfAnAttempt(t *testing.T) {
	const ms = time.Millisecond
	good := delivery.Attempt{Verdict: delivery.Delivered, Reason: delivery.Reason2xx, Status: 204}
	bad := func(reason delivery.Reason) delivery.Attempt {
		return delivery.Attempt{Verdict: delivery.Again, Reason: reason}
	}
	for name, c := range map[string]struct {
		a      delivery.Attempt
		took   time.Duration
		phases delivery.Phases
		want   []string // each from and to, since the attempt began
	}{
		"a new connection over TLS": {
			good, 40 * ms,
			delivery.Phases{DNS: 2 * ms, Connect: 3 * ms, TLS: 5 * ms, FirstByte: 30 * ms},
			[]string{"dns 0s 2ms", "connect 2ms 5ms", "tls 5ms 10ms", "response 10ms 30ms"},
		},
		"an address, over plain HTTP": {good, 12 * ms, delivery.Phases{Connect: 3 * ms, FirstByte: 10 * ms}, []string{"connect 0s 3ms", "response 3ms 10ms"}},
		"a kept connection":           {good, 20 * ms, delivery.Phases{FirstByte: 20 * ms, Reused: true}, []string{"response 0s 20ms"}},
		"no such name":                {bad(delivery.ReasonDNS), 4 * ms, delivery.Phases{DNS: 4 * ms}, []string{"dns 0s 4ms"}},
		"nobody accepts": {
			bad(delivery.ReasonTimeout), 5000 * ms, delivery.Phases{DNS: 2 * ms, Connect: 4998 * ms}, []string{"dns 0s 2ms", "connect 2ms 5s"},
		},
		"a handshake that stalls": {
			bad(delivery.ReasonTimeout), 5000 * ms, delivery.Phases{Connect: 1 * ms, TLS: 4999 * ms}, []string{"connect 0s 1ms", "tls 1ms 5s"},
		},
		"no answer": {
			bad(delivery.ReasonTimeout), 5000 * ms, delivery.Phases{DNS: 2 * ms, Connect: 3 * ms, TLS: 5 * ms}, []string{"dns 0s 2ms", "connect 2ms 5ms", "tls 5ms 10ms"},
		},
		"nothing was sent": {bad(delivery.ReasonBlocked), 1 * ms, delivery.Phases{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			exported := tracetest.NewInMemoryExporter()
			s := newSpans(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exported)).Tracer("test"), "RESPONSES")
			ctx, span := s.attempt(t.Context(), "hooks.test:443", 3)
			a := c.a
			a.Started, a.Took, a.Phases = time.Now(), c.took, c.phases
			s.attempted(ctx, span, a)

			spans := exported.GetSpans()
			post, phases := spans[len(spans)-1], spans[:len(spans)-1]
			var got []string
			for _, p := range phases {
				got = append(got, fmt.Sprintf("%s %s %s", p.Name, p.StartTime.Sub(a.Started), p.EndTime.Sub(a.Started)))
				if p.Parent.SpanID() != post.SpanContext.SpanID() || p.SpanContext.TraceID() != post.SpanContext.TraceID() {
					t.Errorf("phase %s does not stand below the attempt", p.Name)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			if got := post.EndTime.Sub(a.Started); post.Name != "POST" || got != a.Took {
				t.Errorf("span %s ends %s after the attempt's start, want POST after %s", post.Name, got, a.Took)
			}
			wantSaidOf(t, post, a)
		})
	}
}

// wantSaidOf wants an attempt's span to say how it ended.
func wantSaidOf(t *testing.T, post tracetest.SpanStub, a delivery.Attempt) {
	t.Helper()
	got := map[string]string{}
	for _, said := range post.Attributes {
		got[string(said.Key)] = said.Value.String()
	}
	want := map[string]string{"http.request.method": "POST", "server.address": "hooks.test:443", "webhooks.attempt": "3", "webhooks.reason": string(a.Reason)}
	status := codes.Unset
	if a.Verdict == delivery.Delivered {
		want["http.response.status_code"] = fmt.Sprint(a.Status)
	} else {
		want["error.type"], status = string(a.Reason), codes.Error
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if post.Status.Code != status {
		t.Errorf("the span's status is %s, want %s", post.Status.Code, status)
	}
}
