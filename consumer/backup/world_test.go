package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
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
	"github.com/popsee/webhooks/consumer/replay"
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

// replay starts a replay of everything up to a sequence of the event stream.
func (w *world) replay(id string, end uint64) {
	w.t.Helper()
	ctx, names := w.t.Context(), w.layout.Names
	s, err := w.js.Stream(ctx, names.Stream())
	must(w.t, err)
	must(w.t, replay.Create(ctx, w.js, names, replay.Record{
		ID: id, At: time.Now(), StreamCreated: layout.Born(s.CachedInfo()), Start: 1, End: end, Events: end, State: replay.Running,
	}))
	_, err = w.js.CreateConsumer(ctx, names.Stream(), w.layout.Replay(id, 1, nil))
	must(w.t, err)
}

// parkReplayed takes events from a replay's consumer and parks them. When those were its
// last ones it ends the replay.
func (w *world) parkReplayed(id string, n int) {
	w.t.Helper()
	ctx, names := w.t.Context(), w.layout.Names
	c, err := w.js.Consumer(ctx, names.Stream(), names.ReplayConsumer(id))
	must(w.t, err)
	for range n {
		m, err := c.Next()
		must(w.t, err)
		meta, err := m.Metadata()
		must(w.t, err)
		w.park(meta.Sequence.Stream)
		must(w.t, m.DoubleAck(ctx))
		job, err := replay.Change(ctx, w.js, names, id, func(r *replay.Record) error {
			if r.Settled = meta.Sequence.Stream; r.Settled == r.End {
				r.State = replay.Done
			}
			return nil
		})
		must(w.t, err)
		if job.State.Ended() {
			must(w.t, w.js.DeleteConsumer(ctx, names.Stream(), names.ReplayConsumer(id)))
		}
	}
}

// replayed works on a replay to its end. It returns the events that it sends, by their
// places in the event stream.
func replayed(t *testing.T, js jetstream.JetStream, id string) []uint64 {
	t.Helper()
	s := &sends{}
	runner := replay.New(js, s, replay.Options{
		Every: 50 * time.Millisecond, Log: zerolog.Nop(),
		Replicas: func() int { return 1 }, Hold: func() bool { return false }, Settled: func(replay.Outcome) {}, Working: func(int) {},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runner.Run(ctx, ctx)
	}()
	var job replay.Record
	for deadline := time.Now().Add(20 * time.Second); !job.State.Ended() && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		job, err = replay.Look(t.Context(), js, events.Names{}, id)
		must(t, err)
	}
	stop()
	<-ended
	if job.State != replay.Done {
		t.Errorf("the replay is %s", job.State)
	}
	return s.sent
}

// sends is a deliverer to which every event of a replay goes.
type sends struct {
	mu   sync.Mutex // guards sent
	sent []uint64
}

func (s *sends) Begin(replay.Record) replay.Sending { return s }
func (s *sends) Most() int                          { return 16 }
func (s *sends) End()                               {}

func (s *sends) Send(_, _ context.Context, m jetstream.Msg) replay.Result {
	meta, err := m.Metadata()
	if err != nil || m.Ack() != nil {
		return replay.Result{Outcome: replay.Left}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, meta.Sequence.Stream)
	return replay.Result{Outcome: replay.Delivered, Sequence: meta.Sequence.Stream}
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
