package lanes

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// bus runs f in a bubble around a server with all that lanes need.
func bus(t *testing.T, f func(t *testing.T, s *bustest.Server, js jetstream.JetStream)) {
	t.Helper()
	bustest.EmptyPools()
	synctest.Test(t, func(t *testing.T) {
		s := bustest.New(t, server.Options{})
		nc := s.Connect()
		js := bustest.JetStream(t, nc)
		t.Cleanup(func() { // after whatever f has left to be ended: a question that a halted server never answers would hold up its clock
			nc.Close()
			s.Halt()
			synctest.Wait()
		})
		for _, cfg := range (layout.Layout{}).Own() {
			_, err := js.CreateStream(t.Context(), cfg)
			must(t, err)
		}
		for _, cfg := range (layout.Layout{}).Buckets() {
			cfg.TTL, cfg.LimitMarkerTTL = 0, 0 // the server ages messages by a clock outside the bubble
			_, err := js.CreateKeyValue(t.Context(), cfg)
			must(t, err)
		}
		f(t, s, js)
	})
}

// leased gives the lease of a survey's shard to a replica with a connection of its own:
// without that the lease is not renewed.
func leased(t *testing.T, s *bustest.Server, survey events.Survey) (l *leases.Lease, over *bustest.Wire) {
	t.Helper()
	over = &bustest.Wire{}
	nc := s.ConnectOver(over)
	k := leases.New(bustest.JetStream(t, nc), events.Names{}, leases.Options{Self: leases.Replica{ID: "a"}})
	ctx, stop := context.WithCancel(context.Background())
	taken, ended := make(chan *leases.Lease, 1), make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx, func(ctx context.Context, l *leases.Lease) {
			if l.Shard == (events.Names{}).Shard(survey) {
				taken <- l
			}
			<-ctx.Done()
		})
	}()
	t.Cleanup(func() {
		nc.Close()
		stop()
		<-ended
	})
	return <-taken, over
}

// waiting is an event of a survey that is published and parked now.
func waiting(survey events.Survey, source uint64) Waiting {
	return Waiting{
		Survey: survey, EventID: fmt.Sprint("r", source), Source: source, Published: time.Now(), Parked: time.Now(), DueNow: true, Body: []byte("{}"),
	}
}

// entryOf is what the index says of an event whose copy stands at seq.
func entryOf(w Waiting, seq uint64) entry {
	m := momentOf(w.Published)
	return entry{src: w.Source, seq: seq, pub: m.second(), part: m.part()}
}

// slow is a deliverer that takes a while to say that something can be sent.
type slow struct {
	wait time.Duration
	sent atomic.Int32
}

func (s *slow) Ask(context.Context, events.Survey, bool) Result {
	time.Sleep(s.wait)
	return Result{}
}

func (s *slow) Deliver(context.Context, Waiting) Result {
	s.sent.Add(1)
	return Result{Verdict: Done}
}

// TestNothingIsSentOnALeaseThatRanOutSinceItWasAsked: an owner that fetches a body for
// seconds may find another one beside it.
func TestNothingIsSentOnALeaseThatRanOutSinceItWasAsked(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		lease, wire := leased(t, server, "s1")
		parked := waiting("s1", 7)
		must(t, Park(t.Context(), js, events.Names{}, parked))
		d := &slow{}
		s := newShard(t.Context(), New(js, d, Options{}), lease)
		if l := s.try(t.Context(), "s1", entryOf(parked, 1), false, time.Time{}); l.result.Verdict != Done || d.sent.Load() != 1 {
			t.Fatalf("on a good lease it ended as %+v, sent %d times", l.result, d.sent.Load())
		}
		wire.Hold()
		defer wire.Release()
		time.Sleep(4 * time.Second)
		d.wait = 7 * time.Second
		if !lease.May() {
			t.Fatal("the lease has ended already")
		}
		l := s.try(t.Context(), "s1", entryOf(parked, 1), false, time.Time{})
		if lease.May() {
			t.Fatal("the lease has not ended yet")
		}
		if l.result.Verdict != Held || l.gone || d.sent.Load() != 1 {
			t.Errorf("it ended as %+v, sent %d times", l.result, d.sent.Load())
		}
	})
}

// TestALeaseThatIsRenewedLateLeavesNothingLying: what came while it was not good is all to
// be done at once, and nothing else would come to tell of it.
func TestALeaseThatIsRenewedLateLeavesNothingLying(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
		must(t, err)
		defer board.Close()
		d := &slow{}
		s, wire, end := running(t, server, New(js, d, Options{Health: board}))
		defer end()
		wire.Hold()
		time.Sleep(11 * time.Second)
		must(t, Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Parked: time.Now(), Published: time.Now(), DueNow: true, Body: []byte("{}")}))
		time.Sleep(time.Second)
		synctest.Wait()
		if s.lease.May() || d.sent.Load() != 0 {
			t.Fatalf("the lease is good: %v; the event was sent %d times", s.lease.May(), d.sent.Load())
		}
		wire.Release()
		time.Sleep(time.Second)
		synctest.Wait()
		if !s.lease.May() || d.sent.Load() != 1 {
			t.Errorf("the lease is good again: %v; the event was sent %d times, want once", s.lease.May(), d.sent.Load())
		}
	})
}

// ends is a deliverer whose tries end in turn as it says.
type ends []Result

func (*ends) Ask(context.Context, events.Survey, bool) Result { return Result{} }

func (e *ends) Deliver(context.Context, Waiting) (r Result) {
	r, *e = (*e)[0], (*e)[1:]
	return r
}

// TestWhatIsHandedBackIsDelivered, whenever it comes: while its lane still arrives, while
// the end of its last try is on its way, or after its copy was erased by hand.
func TestWhatIsHandedBackIsDelivered(t *testing.T) {
	bury := Result{Verdict: Bury, Reason: "gone"}
	for name, c := range map[string]struct {
		ends      ends
		arriving  bool
		due       uint32
		between   func(t *testing.T, s *shard, js jetstream.JetStream, back func())
		deadAfter uint64
	}{
		"its letter is redriven while its lane arrives": {
			ends{bury, {Verdict: Done}},
			true, 0,
			func(_ *testing.T, s *shard, _ jetstream.JetStream, back func()) { settle(s); back() }, 1,
		},
		"its letter is redriven before its burial is known": {
			ends{bury, {Verdict: Done}},
			false, 0,
			func(_ *testing.T, s *shard, _ jetstream.JetStream, back func()) {
				buried := <-s.ended
				s.jobs--
				back()
				buried()
			}, 1,
		},
		"it waits, and its copy was erased": {
			ends{{Verdict: Done}},
			false, 1<<32 - 1,
			func(t *testing.T, _ *shard, js jetstream.JetStream, back func()) { purgeLanes(t, js); back() }, 0,
		},
		"it was erased, which is found out while its lane arrives": {
			ends{{Verdict: Done}},
			true, 1<<32 - 1,
			func(t *testing.T, s *shard, js jetstream.JetStream, back func()) {
				purgeLanes(t, js)
				l := s.lane("s1")
				l.allDue()
				s.tend(t.Context(), l)
				settle(s)
				back()
			}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
				names := events.Names{}
				board, err := health.Open(t.Context(), js, names, health.Options{})
				must(t, err)
				defer board.Close()
				lease, _ := leased(t, server, "s1")
				d := c.ends
				s := newShard(t.Context(), New(js, &d, Options{Health: board, Dead: deadletters.New(js, names)}), lease)
				s.read = !c.arriving
				w := waiting("s1", 7)
				come := func(seq uint64, due uint32) {
					e := entryOf(w, seq)
					e.due = due
					s.take(t.Context(), fed{survey: "s1", entry: e})
					s.tend(t.Context(), s.lane("s1"))
				}
				must(t, Park(t.Context(), js, names, w))
				come(1, c.due)
				c.between(t, s, js, func() {
					must(t, Park(t.Context(), js, names, w))
					come(2, 0)
				})
				settle(s)
				s.take(t.Context(), fed{caughtUp: true})
				time.Sleep(gapsAfter)
				s.tend(t.Context(), s.lane("s1"))
				settle(s)
				if len(d) != 0 {
					t.Errorf("%d ends are left: it was not tried", len(d))
				}
				if n := copies(t, js); n != 0 {
					t.Errorf("%d copies are left", n)
				}
				letters, err := js.Stream(t.Context(), names.DeadLetters())
				must(t, err)
				if n := letters.CachedInfo().State.Msgs; n != c.deadAfter {
					t.Errorf("%d dead letters, want %d", n, c.deadAfter)
				}
			})
		})
	}
}

// settle waits for all that a shard has begun.
func settle(s *shard) {
	for ; s.jobs > 0; s.jobs-- {
		(<-s.ended)()
	}
}

func purgeLanes(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), (events.Names{}).Lanes())
	must(t, err)
	must(t, stream.Purge(t.Context()))
}
