package deliverylog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// world is a real server with the log's stream, in or out of a bubble.
type world struct {
	t      testing.TB
	server *bustest.Server
	wire   *bustest.Wire
	nc     *nats.Conn
	js     jetstream.JetStream
	names  events.Names
}

// story runs f in a bubble around a fresh world.
func story(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		w.close()
	})
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, server: bustest.New(t, server.Options{ServerName: "log"}), wire: &bustest.Wire{}}
	w.server.Over(w.wire)
	w.nc = w.server.Connect()
	w.js = bustest.JetStream(t, w.nc)
	w.provision()
	return w
}

func (w *world) close() {
	w.nc.Close()
	w.server.Halt()
}

// provision creates the log's stream as production does.
func (w *world) provision() {
	w.t.Helper()
	for _, cfg := range (layout.Layout{Names: w.names}).Own() {
		if cfg.Name == w.names.Attempts() {
			_, err := w.js.CreateStream(context.Background(), cfg)
			must(w.t, err)
		}
	}
}

// run starts a log's Run and gives the function that stops it.
func (w *world) run(l *Log) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run ended with %v", err)
		}
	}
}

// read gives everything a filter means.
func (w *world) read(f Filter) []Record {
	w.t.Helper()
	var all []Record
	for r, err := range Read(context.Background(), w.js, w.names, f) {
		must(w.t, err)
		all = append(all, r)
	}
	return all
}

// messages is how many messages the log consists of.
func (w *world) messages() uint64 {
	w.t.Helper()
	s, err := w.js.Stream(context.Background(), w.names.Attempts())
	must(w.t, err)
	return s.CachedInfo().State.Msgs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// delivered is an ordinary attempt that went well.
func delivered(survey, id string) delivery.Attempt {
	return delivery.Attempt{
		Survey: events.Survey(survey), EventID: id, Host: "hooks.example.com:443", Revision: 12, Number: 1,
		Started: time.Now().Round(0).UTC(), Took: 23_456_789, Phases: delivery.Phases{FirstByte: 22_000_000, Reused: true},
		Status: 200, Verdict: delivery.Delivered, Reason: delivery.Reason2xx, Snippet: `{"ok":true}`,
	}
}

// failed is one that went as badly as it can, and has the most to tell.
func failed(survey, id string) delivery.Attempt {
	return delivery.Attempt{
		Survey: events.Survey(survey), EventID: id, Host: "hooks.example.com:443", Revision: 12, Number: 3, Replay: "replay-1", Test: true,
		Started: time.Now().Round(0).UTC(), Took: 23_456_789, Phases: delivery.Phases{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4},
		Status: 503, Verdict: delivery.Again, Reason: delivery.Reason503, After: time.Minute,
		Detail: "answered 503", Snippet: strings.Repeat(`<p>sorry, "we" are busy – today</p> `, 50),
	}
}
