package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// owners is a receiver that counts what it accepted.
type ownersServer struct {
	mu       sync.Mutex // guards accepted
	accepted map[string]int
	delay    time.Duration
}

func (o *ownersServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	time.Sleep(o.delay) // a receiver that works, on a real socket
	o.mu.Lock()
	o.accepted[req.Header.Get(delivery.HeaderDelivery)]++
	o.mu.Unlock()
	_, _ = w.Write([]byte("thank you, your secret is " + plantedSecret))
}

func testSettings(dir string) config.Settings {
	return config.Settings{
		Embedded: config.EmbeddedSettings{DataDir: dir, MaxStore: 1 << 30},
		Delivery: config.DeliverySettings{MaxInFlight: 200, AckWait: 30 * time.Second, DisableAfter: 5 * 24 * time.Hour, EventMaxBytes: events.MaxBytes, AllowInsecure: true},
	}
}

// noEnv is an environment in which nothing is set.
func noEnv(string) string { return "" }

func open(t *testing.T, dir string, log zerolog.Logger) *service {
	t.Helper()
	v, err := openService(t.Context(), testSettings(dir), noEnv, log)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// connect gives a survey a signed endpoint.
func connect(t *testing.T, v *service, survey events.Survey, url, secret string) {
	t.Helper()
	s, err := delivery.NewSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.keys.Seal(survey, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.store.Put(t.Context(), config.Endpoint{
		Survey: survey, URL: url, Enabled: true, Secrets: []config.SealedSecret{sealed},
		Headers: map[string]string{"Authorization": "Bearer " + plantedHeader},
	}); err != nil {
		t.Fatal(err)
	}
}

func event(survey events.Survey, id string) []byte {
	return fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":%q},"response":{"id":%q}}`, survey, id)
}

// TestAStopUnderLoadLosesNothingAndResendsNothing stops the service again and
// again while events stream in, and starts it on the same data: every event is
// accepted exactly once.
func TestAStopUnderLoadLosesNothingAndResendsNothing(t *testing.T) {
	const total, restarts = 2000, 4
	dir := t.TempDir()
	o := &ownersServer{accepted: map[string]int{}, delay: 5 * time.Millisecond}
	server := httptest.NewServer(o)
	defer server.Close()
	published := 0
	for range restarts {
		v := open(t, dir, zerolog.Nop())
		if published == 0 {
			connect(t, v, "s1", server.URL, "planted-secret")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- v.run(ctx) }()
		pub := events.NewPublisher(v.js, events.PublisherOptions{})
		for range total / restarts {
			if _, err := pub.Publish(t.Context(), event("s1", fmt.Sprint("r", published))); err != nil {
				t.Fatal(err)
			}
			published++
		}
		stop() // while many of them are in hand
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := v.close(); err != nil {
			t.Error(err)
		}
	}
	v := open(t, dir, zerolog.Nop())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx) }()
	waitSettled(t, v)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
	for i := range published {
		if n := o.accepted[fmt.Sprint("r", i)]; n != 1 {
			t.Errorf("event r%d was accepted %d times", i, n)
		}
	}
}

func waitSettled(t *testing.T, v *service) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err := v.js.Consumer(t.Context(), "RESPONSES", "webhooks")
		if err != nil {
			t.Fatal(err)
		}
		if owed(c.CachedInfo()) == 0 {
			return
		}
	}
	t.Fatal("events still wait after a minute")
}

// Attempts use one client, whoever makes them: one that was made for each would leave a connection behind every time,
// until there are no ports.
func TestAttemptsShareTheirConnections(t *testing.T) {
	v := open(t, t.TempDir(), zerolog.Nop())
	defer running(t, v)()
	owner := &ownersServer{accepted: map[string]int{}}
	var connections atomic.Int64
	receiver := httptest.NewUnstartedServer(owner)
	receiver.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	receiver.Start()
	defer receiver.Close()
	connect(t, v, "s1", receiver.URL, plantedSecret)
	connect(t, v, "s2", receiver.URL, plantedSecret)
	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	for i := range 50 {
		id := fmt.Sprint("r", i)
		_, err := pub.Publish(t.Context(), event(events.Survey(fmt.Sprint("s", i%2+1)), id))
		must(t, err)
		within(t, func() string {
			if !owner.has(id) {
				return "event " + id + " is not delivered"
			}
			return ""
		})
	}
	if n := connections.Load(); n > 3 { // one may not be back when the next event comes
		t.Errorf("%d connections for 50 events, one after the other", n)
	}
}

func TestReadinessTellsAnAlarmAndWhatToDo(t *testing.T) {
	dir := t.TempDir()
	v := open(t, dir, zerolog.Nop())
	if err := v.js.DeleteStream(t.Context(), "RESPONSES"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.js.CreateStream(t.Context(), v.layout.Events()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); v.isReady() == nil || !strings.Contains(v.isReady().Error(), "another one"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("ready says %v", v.isReady())
		}
	}
	if hint := hintOf(v.isReady()); !strings.Contains(hint, "webhooks provision --resume-from first") {
		t.Errorf("the hint is %q", hint)
	}
	if v.live() != nil {
		t.Error("an alarm is no reason to be restarted")
	}
	point, err := mark.ParseResumePoint("first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mark.Resume(t.Context(), v.js, v.layout, point); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); v.isReady() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready after the resume: %v", v.isReady())
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
}

func TestEventsLargerThanTheBusCanTakeAreRefusedAtTheStart(t *testing.T) {
	s := testSettings(t.TempDir())
	s.Delivery.EventMaxBytes = 8 << 20
	_, err := openService(t.Context(), s, noEnv, zerolog.Nop())
	if err == nil || !strings.Contains(hintOf(err), "--event-max-bytes") {
		t.Errorf("got %v", err)
	}
}
