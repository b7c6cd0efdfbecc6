package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

// What is planted in a full run. The path and the header belong to the endpoint,
// which is stored as its owner wrote it: nothing else may show them.
const (
	plantedSecret   = "planted-secret-of-an-owner"
	plantedStandard = "whsec_cGxhbnRlZC1zdGFuZGFyZC1zZWNyZXQ="
	plantedDecoded  = "planted-standard-secret"
	plantedPath     = "planted-path-token"
	plantedHeader   = "planted-header-token"
	plantedPassword = "planted-nats-password"
	plantedToken    = "planted-admin-token"
)

// panickingAt panics at one survey's events, with all that it has in its hands.
type panickingAt struct {
	consumer.Sender
	survey events.Survey
}

func (p panickingAt) Send(ctx context.Context, t *delivery.Target, e events.Event, m delivery.Meta) delivery.Attempt {
	if e.Survey == p.survey {
		panic(fmt.Sprintf("with %v and %+v and %#v", t, t, t))
	}
	return p.Sender.Send(ctx, t, e, m)
}

// TestNoSecretIsInAnythingAFullRunWrites plants secrets, runs the whole path with
// deliveries that succeed, fail, are parked, become dead letters and panic, looks
// at it with every command, and searches all that was written: log, metrics,
// health, screens, errors, attempts, dead letters, stacks, the data folder.
func TestNoSecretIsInAnythingAFullRunWrites(t *testing.T) {
	dir := t.TempDir()
	var log lockedBuffer
	settings := testSettings(dir)
	settings.Embedded.Listen = "127.0.0.1:0"
	settings.Admin.Listen, settings.Admin.Token = "127.0.0.1:0", plantedToken
	v, err := openService(t.Context(), settings, noEnv, zerolog.New(&log).Level(zerolog.TraceLevel))
	if err != nil {
		t.Fatal(err)
	}
	counted := prometheus.NewRegistry()
	v.consumer = consumer.New(v.js, v.store, panickingAt{v.client, "panics"}, consumer.Options{
		Layout: v.layout, MaxBytes: events.MaxBytes, Slots: 100, Replica: v.replica, Log: v.log, Metrics: counted, History: v.history,
	})
	end := running(t, v)
	defer end()
	// A receiver that says back all it was sent, and the secret it shares with us.
	talks := func(status int, knows ...any) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Location", "https://example.com/"+plantedPath)
			w.WriteHeader(status)
			_, _ = fmt.Fprintln(w, req.URL, req.Header, knows)
		}))
		t.Cleanup(server.Close)
		return server.URL + "/" + plantedPath
	}
	ends := map[string]int{"s1": 200, "s2": 400, "s3": 302, "s4": 500, "s5": 410, "panics": 200}
	for survey, status := range ends {
		if survey == "s2" {
			connect(t, v, "s2", talks(status, plantedStandard, plantedDecoded), plantedStandard)
			continue
		}
		connect(t, v, events.Survey(survey), talks(status, plantedSecret), plantedSecret)
	}
	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	for survey := range ends {
		if _, err := pub.Publish(t.Context(), event(events.Survey(survey), "r-"+survey)); err != nil {
			t.Fatal(err)
		}
	}
	waitSettled(t, v)

	var screens strings.Builder
	secretFile, ring := filepath.Join(t.TempDir(), "s"), filepath.Join(dir, "keyring.json")
	if err := os.WriteFile(secretFile, []byte(plantedSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	at := config.NATSSettings{URL: v.embedded.URL()}
	within(t, func() string {
		out, _ := tryCommand(t, at, "", "attempts")
		if n := strings.Count(out, "r-s"); n < 5 {
			return fmt.Sprintf("the delivery log shows %d attempts:\n%s", n, out)
		}
		return ""
	})
	for _, line := range []string{
		"status", "status --json", "lanes", "lanes --json", "attempts --json", "dead-letters list", "dead-letters list --json", "dead-letters show 1", "dead-letters show 1 --json",
		"endpoint list", "endpoint get s2", "endpoint get s4 --json", "endpoint test s1 --keyring " + ring, "endpoint test s2 --keyring " + ring, "why r-s1", "why r-s2 --json", "why r-panics",
		"keys list --keyring " + ring, "keys public --keyring " + ring, "endpoint rotate-secret s1 --keyring " + ring + " --secret-file " + secretFile,
		"endpoint set s6 --url http://user:" + plantedSecret + "@example.com/", "endpoint set s6 --url http://example.com/" + plantedSecret + "#x",
		"endpoint list --nats-url nats://me:" + plantedPassword + "@127.0.0.1:1", "verify --secret-file " + secretFile + " --signature sha256=00 " + secretFile,
	} {
		out, _ := tryCommand(t, at, "", strings.Fields(line)...)
		fmt.Fprintf(&screens, "$ webhooks %s\n%s\n", strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(line, plantedSecret, "…"), plantedPassword, "…"), secretFile, "FILE"), out)
	}
	metrics := append(scrape(t, v.metrics), scrape(t, counted)...)
	end()

	all := leaktest.Plant(t, plantedSecret, plantedStandard, plantedDecoded, plantedPassword, plantedToken)
	shown := leaktest.Plant(t, plantedSecret, plantedStandard, plantedDecoded, plantedHeader, plantedPassword, plantedToken)
	logged := leaktest.Plant(t, plantedSecret, plantedStandard, plantedDecoded, plantedHeader, plantedPath, plantedPassword, plantedToken)
	logged.In(t, "the log", []byte(log.String()))
	logged.In(t, "the metrics", metrics)
	shown.In(t, "a screen", []byte(withoutURLs(screens.String())))
	for _, proof := range []string{"panic while handling", `"message":"attempt"`} {
		if !strings.Contains(log.String(), proof) {
			t.Errorf("the log has nothing of %q: this test shows nothing", proof)
		}
	}
	if !strings.Contains(screens.String(), "goroutine") || !strings.Contains(screens.String(), "[redacted]") {
		t.Errorf("no stack and no answer of a receiver was shown: this test shows nothing\n%s", screens.String())
	}
	if n := all.InFolder(t, dir); n < 5 {
		t.Errorf("searched %d files", n)
	}
}

// withoutURLs leaves out what shows an endpoint to its owner: its URL as written.
func withoutURLs(screens string) string { return strings.ReplaceAll(screens, plantedPath, "") }

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, g prometheus.Gatherer) []byte {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return rec.Body.Bytes()
}
