package tracing_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestNothingIsTracedUnlessTheEnvironmentAsksForIt(t *testing.T) {
	for name, pairs := range map[string]map[string]string{
		"nothing is set":           {},
		"another signal is set":    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318"},
		"the exporter is none":     {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
		"everything is turned off": {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := tracing.Open(t.Context(), tracing.Options{Env: env(pairs)})
			if err != nil || e != nil || e.Tracer() != nil {
				t.Errorf("got %v, %v", e, err)
			}
		})
	}
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	for name, pairs := range map[string]map[string]string{
		"an exporter that is not there": {"OTEL_TRACES_EXPORTER": "zipkin"},
		"a protocol that is not there":  {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tracing.Open(t.Context(), tracing.Options{Env: env(pairs)})
			if err == nil || !strings.Contains(err.Error(), "only ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSpansReachACollector speaks OTLP to a collector that decodes what it gets.
func TestSpansReachACollector(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &in) != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %d bytes that are no OTLP request: %v", r.URL.Path, len(body), err)
		}
		got <- &in
	}))
	defer server.Close()
	// The exporter reads the process's own environment.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	e, err := tracing.Open(t.Context(), tracing.Options{
		Env: env(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL}), Version: "v1", Replica: "replica-1", Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, span := e.Tracer().Start(t.Context(), "POST")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	in := <-got
	text := in.String()
	for _, want := range []string{`name:"POST"`, "popsee-webhooks", "replica-1", "deployment.environment.name"} {
		if !strings.Contains(strings.ReplaceAll(text, ": ", ":"), want) {
			t.Errorf("the collector got no %s: %s", want, text)
		}
	}
}
