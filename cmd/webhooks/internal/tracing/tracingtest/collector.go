// Package tracingtest is an OTLP collector for tests to export to. It listens on
// loopback, speaks either of the protocols that the exporter does, and keeps what
// it is sent.
package tracingtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// The protocols, as OTEL_EXPORTER_OTLP_PROTOCOL names them.
const (
	HTTP = "http/protobuf"
	GRPC = "grpc"
)

// Collector is a collector that listens.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	URL string // for OTEL_EXPORTER_OTLP_ENDPOINT

	mu  sync.Mutex // guards got
	got []*otlp.ResourceSpans
}

// Start starts a collector that speaks one protocol alone. It ends with the test.
func Start(t testing.TB, protocol string) *Collector {
	t.Helper()
	c := &Collector{}
	switch protocol {
	case HTTP:
		c.serveHTTP(t)
	case GRPC:
		c.serveGRPC(t)
	default:
		t.Fatalf("no collector speaks %q: %s and %s are known", protocol, HTTP, GRPC)
	}
	return c
}

func (c *Collector) serveHTTP(t testing.TB) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &in) != nil {
			t.Errorf("%s: %d bytes of %s are no OTLP request: %v", r.URL.Path, len(body), r.Header.Get("Content-Type"), err)
		}
		c.keep(&in)
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is one that accepts all
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
}

func (c *Collector) serveGRPC(t testing.TB) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, ended := grpc.NewServer(), make(chan error, 1)
	collector.RegisterTraceServiceServer(server, c)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Errorf("the collector ended with: %v", err)
		}
	})
	c.URL = "http://" + l.Addr().String()
}

// Export implements the OTLP service.
func (c *Collector) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.keep(in)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *Collector) keep(in *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, in.GetResourceSpans()...)
}

// Resources are whose spans have come so far, and the spans of each.
func (c *Collector) Resources() []*otlp.ResourceSpans {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// Spans are all that have come so far.
func (c *Collector) Spans() (all []*otlp.Span) {
	for _, resource := range c.Resources() {
		for _, scope := range resource.GetScopeSpans() {
			all = append(all, scope.GetSpans()...)
		}
	}
	return all
}
