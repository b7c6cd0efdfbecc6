package consumer_test

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/delivery/panics/panicstest"
	"github.com/popsee/webhooks/events"
)

// trap panics with a secret in its hands, so many times, whenever a function of the
// service asks something of what it is set around.
type trap struct {
	mu     sync.Mutex // guards all below
	within string     // the function, as a stack names it
	left   int
	sprung int
}

func (t *trap) set(within string, times int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.within, t.left, t.sprung = within, times, 0
}

func (t *trap) times() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sprung
}

func (t *trap) step() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 || t.within == "" {
		return
	}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, t.within) {
			t.left--
			t.sprung++
			panic("in hand was the secret of s1, and the secret of all others")
		}
		if !more {
			return
		}
	}
}

func (t *trap) dialling(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		t.step()
		return dial(ctx, network, address)
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// trappedBus is the real JetStream with a trap in the way to it.
type trappedBus struct {
	jetstream.JetStream
	trap *trap
}

func (b trappedBus) Conn() *nats.Conn { b.trap.step(); return b.JetStream.Conn() }

func (b trappedBus) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.trap.step()
	s, err := b.JetStream.Stream(ctx, name)
	return trappedStream{s, b.trap}, err
}

// trappedStream is a stream with a trap in the way to its messages.
type trappedStream struct {
	jetstream.Stream
	trap *trap
}

func (s trappedStream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	s.trap.step()
	return s.Stream.GetMsg(ctx, seq, opts...)
}

func (b trappedBus) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	b.trap.step()
	return b.JetStream.Consumer(ctx, stream, name)
}

func (b trappedBus) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	b.trap.step()
	return b.JetStream.KeyValue(ctx, bucket)
}

func (b trappedBus) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	b.trap.step()
	return b.JetStream.PublishMsg(ctx, m, opts...)
}

// trappedLookups is the real store with a trap in the way to it.
type trappedLookups struct {
	consumer.Endpoints
	trap *trap
}

func (l trappedLookups) Target(ctx context.Context, s events.Survey) (*delivery.Target, config.Limits, error) {
	l.trap.step()
	return l.Endpoints.Target(ctx, s)
}

func (l trappedLookups) Watch(f func(config.Change)) (cancel func()) {
	return l.Endpoints.Watch(func(c config.Change) {
		l.trap.step()
		f(c)
	})
}

// trappedHistory is a delivery log with a trap in the way to it.
type trappedHistory struct {
	consumer.History
	trap *trap
}

func (h trappedHistory) Settled(kind deliverylog.Kind, s events.Survey, seq uint64) {
	h.trap.step()
	h.History.Settled(kind, s, seq)
}

// trapped is a world with a trap, in which every panic is counted.
func trapped(t *testing.T, f func(t *testing.T, w *world, counted *prometheus.Registry)) {
	story(t, func(t *testing.T, w *world) {
		reg := prometheus.NewRegistry()
		w.trap, w.panics = &trap{}, panics.New(zerolog.New(w.log), reg)
		w.lookups = func(e consumer.Endpoints) consumer.Endpoints { return trappedLookups{e, w.trap} }
		log := deliverylog.New(trappedBus{w.js, w.trap}, w.layout.Names, deliverylog.Options{Replica: "story", Panics: w.panics})
		w.history = trappedHistory{log, w.trap}
		writing, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- log.Run(writing) }()
		f(t, w, reg)
		w.trap.set("", 0)
		for _, r := range w.replicas {
			r.leave()
		}
		stop()
		must(t, <-ended)
	})
}

// TestAPanicAnywhereCostsNoEventAndNoProcess panics in each place where messages, or
// what others have written, are handled: it is counted where it should be, what was in
// hand comes to the end that is promised for it, the others' events do not wait, and
// the process lives. That nothing is lost, and no secret told, is checked at the end
// of every story.
func TestAPanicAnywhereCostsNoEventAndNoProcess(t *testing.T) {
	if raced {
		t.Skip("two minutes under the race detector, which sees the same code in the other stories; task test:stories runs it")
	}
	const broken, works = "broken", "works"
	once := func(w *world) { w.endpoint(broken).answers(500, 200) }
	whole := func(w *world) { w.endpoint(broken).answers(500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 200) }
	publish := func(w *world) { w.publish(broken) }
	many := func(w *world) { w.publishMany(broken, 40) }
	for name, c := range map[string]struct {
		place  panics.Place
		within string // the function that panics
		times  int
		before func(w *world) // without the trap; nil: nothing
		does   func(w *world) // with it
		buried int            // dead letters in the end
		most   int            // events a lane holds; 0 is the default
	}{
		"looking an endpoint up":     {place: panics.PlaceEvent, within: "(*Consumer).consider", times: 1, does: publish, buried: 1},
		"burying what is no event":   {place: panics.PlaceSettle, within: "(*Consumer).bury", times: 2, does: func(w *world) { w.publishMalformed(broken, "{") }, buried: 1},
		"noting what is parked":      {place: panics.PlaceSettle, within: "(*Consumer).park", times: 1, before: once, does: publish},
		"parking":                    {place: panics.PlacePark, within: "lanes.Park", times: 1, before: once, does: publish},
		"parking many at once":       {place: panics.PlacePark, within: "lanes.parkBatch", times: 1, before: func(w *world) { w.switchOff(broken) }, does: func(w *world) { w.publishMany(broken, 60); w.advance(time.Second); w.endpoint(broken) }},
		"asking for a lane":          {place: panics.PlaceTry, within: "fromLanes.Ask", times: 3, before: once, does: publish},
		"trying from a lane":         {place: panics.PlaceParked, within: "fromLanes.Deliver", times: 1, before: once, does: publish, buried: 1},
		"reading from a lane":        {place: panics.PlaceTry, within: "(*shard).fetch", times: 1, before: once, does: publish},
		"telling of a failing lane":  {place: panics.PlaceLane, within: "(*shard).note", times: 2, before: whole, does: func(w *world) { w.publishMany(broken, 8) }},
		"promising what is too much": {place: panics.PlaceLane, within: "(*shard).promise", times: 2, before: whole, does: many, most: 4},
		"bringing what is owed":      {place: panics.PlaceTry, within: "(*shard).bringNow", times: 2, before: whole, does: many, most: 4},
		"reading the lanes":          {place: panics.PlaceFeed, within: "(*feed).read", times: 3, before: once, does: func(w *world) { publish(w); w.advance(time.Second); w.replicas[0].crash(); w.start() }},
		"the leases' round":          {place: panics.PlaceLeases, within: "(*Keeper).round", times: 3, does: func(w *world) { w.start(); publish(w) }},
		"watching the leases":        {place: panics.PlaceLeases, within: "leases.(*Keeper).watch", times: 2, does: func(w *world) { publish(w); w.start() }},
		"watching the endpoints": {place: panics.PlaceEndpoints, within: "(*follower).look", times: 2, does: func(w *world) {
			w.advance(time.Second) // the new bucket is known by its time
			must(w.t, w.js.DeleteKeyValue(w.t.Context(), w.layout.Names.Endpoints()))
			w.provision()
			w.endpoint(broken)
			w.endpoint(works)
			w.advance(3 * time.Minute)
			publish(w)
		}},
		"watching the health":           {place: panics.PlaceHealth, within: "(*Board).watch", times: 2, does: func(w *world) { publish(w); w.advance(3 * time.Minute) }},
		"hearing of a change":           {place: panics.PlaceChange, within: "(*notifier).run.func1", times: 1, before: once, does: func(w *world) { publish(w); w.endpoint(broken) }},
		"looking at the mark":           {place: panics.PlaceKeep, within: "(*Consumer).keepMark", times: 3, does: publish},
		"writing the delivery log":      {place: panics.PlaceLog, within: "(*Log).send", times: 2, does: func(w *world) { publish(w); w.advance(time.Second); publish(w) }},
		"looking at a replay":           {place: panics.PlaceReplay, within: "(*worker).look", times: 2, before: publish, does: func(w *world) { w.replay(nil) }},
		"watching the replays":          {place: panics.PlaceReplay, within: "replay.(*Runner).watch", times: 2, does: func(w *world) { w.advance(6 * time.Minute); publish(w) }},
		"leaving a replay":              {place: panics.PlaceReplay, within: "(*worker).leave", times: 1, before: publish, does: func(w *world) { w.replay(nil) }},
		"an event of a replay":          {place: panics.PlaceEvent, within: "(*sending).consider", times: 1, before: publish, does: func(w *world) { w.replay(nil) }, buried: 1},
		"the room for a replayed event": {place: panics.PlaceSettle, within: "(*Rooms).Take", times: 1, before: func(w *world) { whole(w); w.publishMany(broken, 6) }, does: func(w *world) { w.replay(nil) }},
		"dialling":                      {place: panics.PlaceDial, within: "(*Client).dialTCP", times: 1, does: publish},
	} {
		t.Run(name, func(t *testing.T) {
			trapped(t, func(t *testing.T, w *world, counted *prometheus.Registry) {
				w.laneMost = c.most
				w.endpoint(broken)
				w.endpoint(works)
				w.start()
				if c.before != nil {
					c.before(w)
					w.advance(time.Second)
				}
				w.trap.set(c.within, c.times)
				c.does(w)
				w.advance(2 * time.Second)
				beside := w.publish(works)
				w.advance(3 * time.Second)
				w.wantDelivered(beside, 1)
				w.advance(6 * time.Minute)
				if c.most > 0 {
					w.advance(20 * time.Minute) // what is owed is brought when a probe has found the endpoint working
				}
				if n := w.trap.times(); n != c.times {
					t.Errorf("the trap has sprung %d times, want %d: this story shows nothing", n, c.times)
				}
				if n := panicstest.Survived(t, counted, c.place); n != float64(c.times) {
					t.Errorf("%v panics are counted at %q, want %d:\n%s", n, c.place, c.times, w.log.String())
				}
				for id, p := range w.published {
					if !p.malformed && !slices.Contains(w.buried(), p.seq) && w.internet.at(p.survey).accepted(id) == 0 {
						t.Errorf("event %s of survey %s was not accepted after all", id, p.survey)
					}
				}
				if n := len(w.buried()); n != c.buried {
					t.Errorf("%d dead letters, want %d", n, c.buried)
				}
				w.wantSettled()
				after := w.publish(broken)
				w.advance(time.Minute)
				if w.internet.at(broken).accepted(after) == 0 {
					t.Error("the next event of the same survey was not accepted")
				}
				w.wantAlive()
			})
		})
	}
}

// wantAlive checks that every replica that was not told to stop still runs.
func (w *world) wantAlive() {
	w.t.Helper()
	for _, r := range w.replicas {
		if r.ended {
			continue
		}
		select {
		case err := <-r.done:
			w.t.Errorf("%s has ended: %v", r.id, err)
			r.done <- err
		default:
		}
	}
}

// What a panic in the middle of pulling, or of looking after replays, has left is not
// known. The replica ends on purpose and says so; another one goes on.
func TestAPanicInTheFetchLoopEndsTheReplicaOnPurpose(t *testing.T) {
	trapped(t, func(t *testing.T, w *world, counted *prometheus.Registry) {
		w.endpoint("s1")
		r := w.start()
		w.trap.set("(*Consumer).ask", 1)
		w.advance(10 * time.Second)
		select {
		case err := <-r.done:
			if err == nil || !strings.Contains(err.Error(), "panic (run)") {
				t.Errorf("it ended with %v", err)
			}
			r.done <- nil // as the story's end wants it
		default:
			t.Error("it goes on")
		}
		if n := panicstest.Survived(t, counted, panics.PlaceRun); n != 1 {
			t.Errorf("%v panics are counted, want 1", n)
		}
		r.wait()
		synctest.Wait()
		id := w.publish("s1")
		w.start()
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
	})
}
