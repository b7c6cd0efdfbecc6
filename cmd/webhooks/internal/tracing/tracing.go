// Package tracing exports OpenTelemetry spans, when the standard OTEL_* variables
// ask for it.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// serviceName is what the service is called where OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES say nothing.
const serviceName = "popsee-webhooks"

// Options say who exports.
type Options struct {
	Env     func(string) string // the process's environment; what the exporter itself reads is the real one
	Version string              // of the program
	Replica string              // this process among the replicas
	Log     zerolog.Logger      // hears, at most once a minute, that spans cannot be exported
}

// Exporter sends spans away.
type Exporter struct {
	provider *sdktrace.TracerProvider
}

// Open starts exporting. It returns nil, and nothing is ever traced, unless the
// environment names where to: OTEL_TRACES_EXPORTER=otlp, OTEL_EXPORTER_OTLP_ENDPOINT
// or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. OTEL_SDK_DISABLED=true and
// OTEL_TRACES_EXPORTER=none switch it off whatever else is set. A collector that
// cannot be reached is no error: spans are dropped, events are not.
func Open(ctx context.Context, o Options) (*Exporter, error) {
	on, err := wanted(o.Env)
	if err != nil || !on {
		return nil, err
	}
	client, err := client(o.Env)
	if err != nil {
		return nil, err
	}
	to, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, &Problem{fmt.Errorf("open the OTLP exporter: %w", err)}
	}
	who, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", serviceName),
			attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Replica),
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // last: what the environment says wins
	)
	if err != nil {
		return nil, errors.Join(&Problem{fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)}, to.Shutdown(ctx))
	}
	// The SDK tells of what it cannot export in this one way; there is one exporter a process.
	told := o.Log.Sample(&zerolog.BurstSampler{Burst: 1, Period: tellEvery})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		told.Warn().Err(err).Msg("spans cannot be exported and are dropped; deliveries go on")
	}))
	return &Exporter{sdktrace.NewTracerProvider(sdktrace.WithBatcher(to), sdktrace.WithResource(who))}, nil
}

// Tracer makes spans; nil when e is nil.
func (e *Exporter) Tracer() trace.Tracer {
	if e == nil {
		return nil
	}
	return e.provider.Tracer("github.com/popsee/webhooks")
}

// Close exports what is left, within ctx.
func (e *Exporter) Close(ctx context.Context) error { return e.provider.Shutdown(ctx) }

// wanted says whether the environment asks for traces.
func wanted(env func(string) string) (bool, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := env("OTEL_TRACES_EXPORTER"); exporter {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
		return env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "", nil
	default:
		return false, &Problem{fmt.Errorf("OTEL_TRACES_EXPORTER is %q: only otlp and none are known", exporter)}
	}
}

func client(env func(string) string) (otlptrace.Client, error) {
	protocol := env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = env("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.NewClient(), nil
	case "grpc":
		return otlptracegrpc.NewClient(), nil
	default:
		return nil, &Problem{fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: only http/protobuf and grpc are known", protocol)}
	}
}

// tellEvery is how often trouble with the collector is told.
const tellEvery = time.Minute

// Problem is an environment that asks for what cannot be done.
type Problem struct{ err error }

// Error says what is wrong.
func (p *Problem) Error() string { return p.err.Error() }

// Hint says what to do.
func (p *Problem) Hint() string {
	return "correct the OTEL_* variable, or set OTEL_SDK_DISABLED=true"
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.err }
