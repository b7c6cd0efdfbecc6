package main

import (
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing/tracingtest"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/hostiletest"
)

// TestATraceGoesFromThePublisherToTheReceiver runs the service with the standard
// variables set towards a collector, in each protocol there is, and delivers one
// event to an HTTPS receiver that has a name: its first request goes through all
// phases that an attempt can have.
func TestATraceGoesFromThePublisherToTheReceiver(t *testing.T) {
	const trace, publisher = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, protocol := range []string{tracingtest.HTTP, tracingtest.GRPC} {
		t.Run(protocol, func(t *testing.T) {
			to := tracingtest.Start(t, protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			owner := newNamedOwner(t)
			s := testSettings(t.TempDir())
			s.Delivery.CABundle = owner.authority
			v, err := openService(t.Context(), s, os.Getenv, zerolog.Nop())
			must(t, err)
			end := running(t, v)
			defer end()
			connect(t, v, "s1", owner.url, plantedSecret)
			_, err = v.js.PublishMsg(t.Context(), &nats.Msg{
				Subject: v.layout.Names.Subject("s1"), Data: event("s1", "r1"),
				Header: nats.Header{"traceparent": {"00-" + trace + "-" + publisher + "-01"}, "tracestate": {"vendor=1"}},
			})
			must(t, err)
			var header http.Header
			select {
			case header = <-owner.headers:
			case <-time.After(patience):
				t.Fatal("the event is not delivered")
			}
			waitSettled(t, v)
			end() // exports what is left

			spans := to.Spans()
			if diff := cmp.Diff([]string{
				publisher + ": process RESPONSES, consumer",
				publisher + ": process RESPONSES: POST, client",
				publisher + ": process RESPONSES: POST: connect, internal",
				publisher + ": process RESPONSES: POST: dns, internal",
				publisher + ": process RESPONSES: POST: response, internal",
				publisher + ": process RESPONSES: POST: tls, internal",
				publisher + ": process RESPONSES: admit, internal",
				publisher + ": process RESPONSES: look up, internal",
				publisher + ": process RESPONSES: pull, internal",
			}, waysTo(spans)); diff != "" {
				t.Errorf("the ways from the publisher's span to each (-want +got):\n%s", diff)
			}
			for _, s := range spans {
				if got := hex.EncodeToString(s.GetTraceId()); got != trace {
					t.Errorf("span %s is in trace %s, want the publisher's", s.GetName(), got)
				}
				if s.GetName() == "POST" {
					want := "00-" + trace + "-" + hex.EncodeToString(s.GetSpanId()) + "-01"
					if got := header.Get(delivery.HeaderTraceparent); got != want {
						t.Errorf("the receiver got the traceparent %s, want that of the attempt, %s", got, want)
					}
				}
				for _, private := range []string{plantedSecret, plantedHeader, "private-path"} {
					if strings.Contains(s.String(), private) {
						t.Errorf("span %s holds %s: %s", s.GetName(), private, s)
					}
				}
			}
			if got := header.Get(delivery.HeaderTracestate); got != "vendor=1" {
				t.Errorf("the receiver got the tracestate %q", got)
			}
		})
	}
}

// waysTo are all spans, each by the names that lead to it from the span that was not
// exported here, in order.
func waysTo(spans []*otlp.Span) (ways []string) {
	byID := map[string]*otlp.Span{}
	for _, s := range spans {
		byID[string(s.GetSpanId())] = s
	}
	for _, s := range spans {
		kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
		way, above := s.GetName()+", "+kind, string(s.GetParentSpanId())
		for ; byID[above] != nil; above = string(byID[above].GetParentSpanId()) {
			way = byID[above].GetName() + ": " + way
		}
		ways = append(ways, hex.EncodeToString([]byte(above))+": "+way)
	}
	slices.Sort(ways)
	return ways
}

// namedOwner is an HTTPS receiver that is found by a name, and accepts everything.
type namedOwner struct {
	url       string
	authority string           // the file of who vouches for it
	headers   chan http.Header // of its requests
}

func newNamedOwner(t *testing.T) *namedOwner {
	t.Helper()
	ca := hostiletest.NewAuthority(t)
	o := &namedOwner{authority: filepath.Join(t.TempDir(), "authority.pem"), headers: make(chan http.Header, 1)}
	must(t, os.WriteFile(o.authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}), 0o600))
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		o.headers <- r.Header.Clone()
	}))
	receiver.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost", hostiletest.LongLeft)}}
	receiver.StartTLS()
	t.Cleanup(receiver.Close)
	o.url = strings.Replace(receiver.URL, "127.0.0.1", "localhost", 1) + "/private-path"
	return o
}
