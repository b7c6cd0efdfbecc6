package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/backup"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/events"
)

// world is a deployment on a real server, in which the test does what replicas do.
type world struct {
	t      *testing.T
	js     jetstream.JetStream
	layout layout.Layout
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, bustest.Start(t))
}

func newWorldOn(t *testing.T, js jetstream.JetStream) *world {
	t.Helper()
	w := &world{t: t, js: js}
	_, err := provision.Run(t.Context(), w.js, w.layout, provision.Ensure, zerolog.Nop())
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish publishes an event and returns where it stands.
func (w *world) publish(id string) uint64 {
	w.t.Helper()
	ack, err := w.js.Publish(w.t.Context(), w.layout.Names.Subject("s1"), []byte(id))
	must(w.t, err)
	return ack.Sequence
}

// hold takes events from the live consumer, and keeps them in hand.
func (w *world) hold(n int) (held []jetstream.Msg) {
	w.t.Helper()
	c, err := w.js.Consumer(w.t.Context(), w.layout.Names.Stream(), w.layout.Names.Consumer())
	must(w.t, err)
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(10*time.Second))
	must(w.t, err)
	for m := range batch.Messages() {
		held = append(held, m)
	}
	if len(held) != n {
		w.t.Fatalf("%d events came, want %d", len(held), n)
	}
	return held
}

// letGo ends an event as what is owed or buried is let go, and waits until NATS has
// taken it in.
func (w *world) letGo(m jetstream.Msg) {
	w.t.Helper()
	before := w.inHand()
	must(w.t, m.TermWithReason("owed"))
	for deadline := time.Now().Add(10 * time.Second); w.inHand() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("it was not let go")
		}
	}
}

func (w *world) inHand() int {
	w.t.Helper()
	c, err := w.js.Consumer(w.t.Context(), w.layout.Names.Stream(), w.layout.Names.Consumer())
	must(w.t, err)
	return c.CachedInfo().NumAckPending
}

// settle takes events from the live consumer and settles them.
func (w *world) settle(n int) {
	w.t.Helper()
	for _, m := range w.hold(n) {
		must(w.t, m.DoubleAck(w.t.Context()))
	}
	k := mark.New(w.js, w.layout, zerolog.Nop())
	_, _, err := k.Look(w.t.Context())
	must(w.t, err)
}

// park puts an event into its lane.
func (w *world) park(source uint64) {
	w.t.Helper()
	must(w.t, lanes.Park(context.WithoutCancel(w.t.Context()), w.js, w.layout.Names, lanes.Waiting{
		Survey: "s1", EventID: fmt.Sprint("e", source), Source: source, Published: time.Now(), Parked: time.Now(), Reason: "5xx", Body: []byte("body"),
	}))
}

// coming are the events that the live consumer brings, by their places in the event
// stream. What was in somebody's hands comes again after a second.
func coming(t *testing.T, js jetstream.JetStream) (all []uint64) {
	t.Helper()
	names := events.Names{}
	c, err := js.Consumer(t.Context(), names.Stream(), names.Consumer())
	must(t, err)
	cfg := c.CachedInfo().Config
	cfg.AckWait = time.Second
	c, err = js.UpdateConsumer(t.Context(), names.Stream(), cfg)
	must(t, err)
	batch, err := c.Fetch(100, jetstream.FetchMaxWait(4*time.Second))
	must(t, err)
	for m := range batch.Messages() {
		must(t, m.DoubleAck(t.Context()))
		meta, err := m.Metadata()
		must(t, err)
		all = append(all, meta.Sequence.Stream)
	}
	slices.Sort(all)
	return all
}

// waiting are the events in a lane, by their places in the event stream.
func waiting(t *testing.T, js jetstream.JetStream) (all []uint64) {
	t.Helper()
	for s, err := range lanes.All(t.Context(), js, events.Names{}, "") {
		must(t, err)
		all = append(all, s.Source)
	}
	return all
}

func (w *world) bury(source uint64) {
	w.t.Helper()
	must(w.t, deadletters.New(w.js, w.layout.Names).Bury(w.t.Context(), deadletters.Letter{
		Survey: "s1", Stream: w.layout.Names.Stream(), Source: source, Reason: "expired", Published: time.Now(), Body: []byte("body"),
	}))
}

// take makes a backup; during hears of each stream that is being copied, once a time
// that it is.
func (w *world) take(during func(stream string)) (string, backup.Manifest) {
	w.t.Helper()
	folder, last := filepath.Join(w.t.TempDir(), "backup"), ""
	m, err := backup.Take(w.t.Context(), w.js, w.layout.Names, backup.Options{Folder: folder, Version: "test", Progress: func(doing string, _, _ int64) {
		if doing != last && during != nil {
			during(doing)
		}
		last = doing
	}})
	must(w.t, err)
	return folder, m
}

// restore makes a deployment of a backup on a new server.
func restore(t *testing.T, folder string) (jetstream.JetStream, backup.Restored) {
	t.Helper()
	js := bustest.Start(t)
	r, err := backup.Restore(t.Context(), js, backup.RestoreOptions{Folder: folder})
	must(t, err)
	return js, r
}

// change changes one byte of a file.
func change(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 0x10
	must(t, os.WriteFile(path, b, 0o600))
}
