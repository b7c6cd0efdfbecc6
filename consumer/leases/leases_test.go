package leases

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ttl of the tests. They run on real time: inside a bubble the server takes the
// age of messages from a clock outside it, and expires all of them at once.
const ttl = 1500 * time.Millisecond

// fleet is a server and the replicas on it; it sees to it that no shard is ever
// worked on by two.
type fleet struct {
	t      *testing.T
	s      *bustest.Server
	mu     sync.Mutex // guards worked
	worked map[int]string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	s := bustest.New(t, server.Options{})
	t.Cleanup(s.Halt)
	x := &fleet{t: t, s: s, worked: map[int]string{}}
	js := x.connect()
	defer js.Conn().Close()
	for _, b := range (layout.Layout{}).Buckets() {
		if b.TTL > 0 {
			b.TTL = ttl
		}
		if _, err := js.CreateKeyValue(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *fleet) connect() jetstream.JetStream { return bustest.JetStream(x.t, x.s.Connect()) }

type member struct {
	x    *fleet
	id   string
	js   jetstream.JetStream
	stop context.CancelFunc
	done chan struct{}
	mu   sync.Mutex // guards held
	held map[int]*Lease
}

func (x *fleet) join(id string) *member {
	m := &member{x: x, id: id, js: x.connect(), done: make(chan struct{}), held: map[int]*Lease{}}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	k := New(m.js, events.Names{}, Options{Self: Replica{ID: id}, TTL: ttl})
	go func() {
		defer close(m.done)
		k.Run(ctx, m.work)
	}()
	return m
}

// work holds a shard until it is taken away, as an owner's loop does: it looks
// whether it may before each thing it starts.
func (m *member) work(ctx context.Context, l *Lease) {
	m.set(l.Shard, l)
	defer m.set(l.Shard, nil)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			m.x.start(l.Shard, "")
			return
		case <-tick.C:
			if l.May() {
				m.x.start(l.Shard, m.id)
			} else {
				m.x.start(l.Shard, "")
			}
		}
	}
}

// start notes who works on a shard; two at once is what must never be.
func (x *fleet) start(shard int, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if other := x.worked[shard]; other != "" && id != "" && other != id {
		x.t.Errorf("shard %d is worked on by %s and %s", shard, other, id)
	}
	x.worked[shard] = id
}

func (m *member) set(shard int, l *Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l == nil {
		delete(m.held, shard)
		return
	}
	m.held[shard] = l
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

func (m *member) leave() {
	m.stop()
	<-m.done
	m.js.Conn().Close()
}

// within waits for what must come true by itself.
func (x *fleet) within(d time.Duration, what string, is func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(d); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatalf("%s: not within %s", what, d)
		}
	}
}

func TestReplicasShareAndHandOverWithoutOverlap(t *testing.T) {
	x := newFleet(t)
	a := x.join("a")
	x.within(5*ttl, "one replica holds everything", func() bool { return a.count() == events.Shards })
	b, c := x.join("b"), x.join("c")
	x.within(10*ttl, "three share", func() bool {
		return a.count() < 40 && b.count() > 8 && c.count() > 8 && a.count()+b.count()+c.count() == events.Shards
	})
	time.Sleep(3 * ttl) // renewals hold: nothing moves any more
	if n := a.count() + b.count() + c.count(); n != events.Shards {
		t.Errorf("%d shards are held, want %d", n, events.Shards)
	}
	b.leave()
	x.within(2*ttl, "the others take over from one that left", func() bool { return a.count()+c.count() == events.Shards })
	a.leave()
	c.leave()
}

func TestADeadReplicasShardsAreTakenWhenTheyExpire(t *testing.T) {
	x := newFleet(t)
	a := x.join("a")
	x.within(5*ttl, "one replica holds everything", func() bool { return a.count() == events.Shards })
	a.mu.Lock()
	l := a.held[0]
	a.mu.Unlock()
	a.js.Conn().Close() // it cannot renew any more, as if it had been cut off
	b := x.join("b")
	x.within(10*ttl, "another takes everything", func() bool { return b.count() == events.Shards })
	if l.May() {
		t.Error("the one that was cut off may still start something")
	}
	a.stop()
	<-a.done
	b.leave()
}

// A key of ours that we do not know of is what a write leaves behind whose answer was
// lost.
func TestAReplicaWhoseAnnouncementHadNoAnswerAnnouncesItselfAgain(t *testing.T) {
	x := newFleet(t)
	js := x.connect()
	defer js.Conn().Close()
	kv := lastingReplicas(t, js)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := kv.Create(t.Context(), "a", []byte("{}"))
	must(err)
	a := x.join("a")
	x.within(5*ttl, "the key is its own", func() bool {
		e, err := kv.Get(t.Context(), "a")
		must(err)
		return string(e.Value()) == string(encode(Replica{ID: "a"}))
	})
	x.within(5*ttl, "it holds everything", func() bool { return a.count() == events.Shards })
	a.leave()
}

// lastingReplicas makes the bucket of replicas one whose keys do not expire in a test.
func lastingReplicas(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	for _, b := range (layout.Layout{}).Buckets() {
		if b.Bucket == (events.Names{}).Replicas() {
			b.TTL = time.Hour
			kv, err := js.UpdateKeyValue(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			return kv
		}
	}
	t.Fatal("there is no such bucket")
	return nil
}

// brokenOff is a bucket whose watches are closed after their first entry, as the client
// closes them when their time is over or the bucket goes.
type brokenOff struct{ jetstream.KeyValue }

func (b brokenOff) WatchAll(ctx context.Context, o ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	w, err := b.KeyValue.WatchAll(ctx, o...)
	if err != nil {
		return nil, err
	}
	updates := make(chan jetstream.KeyValueEntry, 1)
	updates <- <-w.Updates()
	close(updates)
	return cut{w, updates}, nil
}

type cut struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (c cut) Updates() <-chan jetstream.KeyValueEntry { return c.updates }

// TestAListThatIsNotWholeIsNotTakenForOne: with fewer replicas than live each would take
// too large a share, and one that misses itself would let all its shards go.
func TestAListThatIsNotWholeIsNotTakenForOne(t *testing.T) {
	js := bustest.Start(t)
	names := events.Names{}
	kvs := map[string]jetstream.KeyValue{}
	for _, b := range (layout.Layout{}).Buckets() {
		kv, err := js.CreateKeyValue(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		kvs[b.Bucket] = kv
	}
	replicas, shards := kvs[names.Replicas()], kvs[names.Leases()]
	for kv, keys := range map[jetstream.KeyValue][]string{replicas: {"a", "b", "c"}, shards: {"00", "01"}} {
		for _, key := range keys {
			if _, err := kv.Put(t.Context(), key, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := New(js, names, Options{Self: Replica{ID: "a"}})
	if err := k.meet(t.Context(), replicas); err != nil || len(k.Replicas()) != 3 {
		t.Fatalf("%d replicas live, %v; want 3", len(k.Replicas()), err)
	}
	if taken, err := k.holders(t.Context(), shards); err != nil || len(taken) != 2 {
		t.Fatalf("%d shards are held, %v; want 2", len(taken), err)
	}
	if err := k.meet(t.Context(), brokenOff{replicas}); err == nil || len(k.Replicas()) != 3 {
		t.Errorf("of a list that was broken off it takes %d replicas, %v", len(k.Replicas()), err)
	}
	if _, err := k.holders(t.Context(), brokenOff{shards}); err == nil {
		t.Error("holders that were not all listed are taken for all")
	}
	if err := replicas.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := k.meet(t.Context(), replicas); err == nil || len(k.Replicas()) != 3 {
		t.Errorf("of a list without itself it takes %d replicas, %v", len(k.Replicas()), err)
	}
}

func TestOnlyTheShardsOfWhoComesOrGoesMove(t *testing.T) {
	three := []Replica{{ID: "webhooks-0"}, {ID: "webhooks-1"}, {ID: "webhooks-2"}}
	count := map[string]int{}
	for shard := range events.Shards {
		before, after := suggested(shard, three), suggested(shard, three[:2])
		count[before]++
		if before != "webhooks-2" && before != after {
			t.Errorf("shard %d moves from %s to %s because webhooks-2 left", shard, before, after)
		}
	}
	for id, n := range count {
		if n < 10 || n > 33 {
			t.Errorf("%s is suggested for %d of %d", id, n, events.Shards)
		}
	}
}
