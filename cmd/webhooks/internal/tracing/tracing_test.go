package tracing_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing"
	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing/tracingtest"
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

// TestSpansReachACollector exports to a collector that speaks one protocol alone.
func TestSpansReachACollector(t *testing.T) {
	const general, ofTraces = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	for name, c := range map[string]struct {
		env   map[string]string
		speak string
	}{
		"no protocol is set":               {nil, tracingtest.HTTP},
		"http/protobuf":                    {map[string]string{general: "http/protobuf"}, tracingtest.HTTP},
		"grpc":                             {map[string]string{general: "grpc"}, tracingtest.GRPC},
		"the one of traces is another one": {map[string]string{general: "http/protobuf", ofTraces: "grpc"}, tracingtest.GRPC},
	} {
		t.Run(name, func(t *testing.T) {
			to := tracingtest.Start(t, c.speak)
			for variable, value := range c.env {
				t.Setenv(variable, value)
			}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			e, err := tracing.Open(t.Context(), tracing.Options{Env: os.Getenv, Version: "v1", Replica: "replica-1", Log: zerolog.Nop()})
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
			if got := to.Spans(); len(got) != 1 || got[0].GetName() != "POST" {
				t.Fatalf("the collector got %v, want the one span", got)
			}
			who := map[string]string{}
			for _, a := range to.Resources()[0].GetResource().GetAttributes() {
				who[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for attribute, want := range map[string]string{
				"service.name": "popsee-webhooks", "service.version": "v1", "service.instance.id": "replica-1", "deployment.environment.name": "test",
			} {
				if who[attribute] != want {
					t.Errorf("%s is %q, want %q", attribute, who[attribute], want)
				}
			}
		})
	}
}
