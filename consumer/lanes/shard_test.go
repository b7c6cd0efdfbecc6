package lanes

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// hourly is a schedule by which every event is due an hour after its parking.
func hourly(parked time.Time, _ string, _ time.Time) (time.Time, bool) {
	return parked.Add(time.Hour), true
}

// running runs the shard of s1 until the end of the test; end ends it sooner.
func running(t *testing.T, server *bustest.Server, o *Owner) (s *shard, wire *bustest.Wire, end func()) {
	t.Helper()
	lease, wire := leased(t, server, "s1")
	s = newShard(t.Context(), o, lease)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx)
	}()
	time.Sleep(time.Second)
	synctest.Wait() // what its loop has written before may be read from here on
	return s, wire, func() {
		stop()
		<-ended
	}
}

// in does something in the shard's loop, and returns when it is done.
func in(s *shard, do func()) {
	done := make(chan struct{})
	s.asked <- func() { do(); close(done) }
	<-done
}

// looks counts how often all lanes of a shard are looked at, up to twenty times a second.
func looks(s *shard, while time.Duration) (n int) {
	var last time.Time
	in(s, func() { last = s.look })
	for until := time.Now().Add(while); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		in(s, func() {
			if !s.look.Equal(last) {
				n, last = n+1, s.look
			}
		})
	}
	return n
}

// TestNothingIsDoneOverAndOverOnceAllThatWasOwedIsBrought: what was to be brought was not
// before a moment that has passed, and another event of its lane waits for its own time.
func TestNothingIsDoneOverAndOverOnceAllThatWasOwedIsBrought(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects()})
		must(t, err)
		for range 3 {
			_, err := js.Publish(t.Context(), names.Subject("s1"), []byte("{}"))
			must(t, err)
		}
		_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		_, err = board.Owe(t.Context(), "s1", health.Promise{From: 4, Until: time.Now().Add(time.Second)}, health.Stream{At: time.Now(), First: 1, Last: 3})
		must(t, err)
		must(t, Park(t.Context(), js, names, Waiting{Survey: "s1", EventID: "r1", Source: 3, Parked: time.Now(), Published: time.Now(), Body: []byte("{}")}))
		s, _, end := running(t, server, New(js, &slow{}, Options{Health: board, Schedule: hourly}))
		defer end()
		time.Sleep(30 * time.Second)
		if r, _ := board.Of("s1"); r.OwedFrom != 0 {
			t.Fatalf("it is still owed: %+v", r)
		}
		if n := looks(s, time.Minute); n > 1 {
			t.Errorf("all lanes were looked at %d times in a minute in which nothing was to be done", n)
		}
	})
}

// busily has something happen in a shard all the time, until stop is called.
func busily(s *shard) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ; ctx.Err() == nil; time.Sleep(500 * time.Microsecond) {
			in(s, func() {})
		}
	}()
	return func() { cancel(); <-ended }
}

// TestABusyShardLeavesNothingLying: what could not be done when it came, and what is to be
// done at a time, is done although something else happens in its shard all the time.
func TestABusyShardLeavesNothingLying(t *testing.T) {
	for name, between := range map[string]struct {
		start, end func(s *shard, w *bustest.Wire)
	}{
		"the lease was not good": {
			func(_ *shard, w *bustest.Wire) { w.Hold(); time.Sleep(11 * time.Second) },
			func(_ *shard, w *bustest.Wire) { w.Release() },
		},
		"all slots were taken": {
			func(s *shard, _ *bustest.Wire) {
				for range cap(s.o.slots) {
					s.o.slots <- struct{}{}
				}
			},
			func(s *shard, _ *bustest.Wire) {
				for range cap(s.o.slots) {
					<-s.o.slots
				}
			},
		},
		"the others still arrive": {
			func(s *shard, _ *bustest.Wire) {
				in(s, func() { s.read, s.look = false, time.Now().Add(arriveTend) })
			},
			func(*shard, *bustest.Wire) {},
		},
		"the lane was held": {
			func(s *shard, _ *bustest.Wire) {
				in(s, func() {
					s.lane("s1").hold(time.Now().Add(time.Second))
					s.lane("s1").add(entry{src: 1, seq: 1, due: 1<<32 - 1})
				})
			},
			func(*shard, *bustest.Wire) { time.Sleep(500 * time.Millisecond) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
				board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
				must(t, err)
				defer board.Close()
				d := &slow{}
				s, wire, end := running(t, server, New(js, d, Options{Health: board}))
				defer end()
				between.start(s, wire)
				must(t, Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Published: time.Now(), Parked: time.Now(), DueNow: true, Body: []byte("{}")}))
				stop := busily(s)
				defer stop()
				time.Sleep(100 * time.Millisecond)
				if d.sent.Load() != 0 {
					t.Fatal("it was sent already")
				}
				between.end(s, wire)
				time.Sleep(time.Second)
				if d.sent.Load() != 1 {
					t.Errorf("it was sent %d times in a second, want once", d.sent.Load())
				}
			})
		})
	}
}

// TestAnIdleShardOfManyLanesLooksAtThemOnlyWhenSomethingIsDue: looking at ten thousand
// lanes costs as much as delivering hundreds of events.
func TestAnIdleShardOfManyLanesLooksAtThemOnlyWhenSomethingIsDue(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
		must(t, err)
		defer board.Close()
		s, _, end := running(t, server, New(js, &slow{}, Options{Health: board}))
		defer end()
		due := time.Now().Add(20 * time.Second)
		for i := range 2000 {
			s.feed(fed{survey: events.Survey(fmt.Sprint("other", i)), entry: entry{src: uint64(i + 1), seq: uint64(i + 1), due: seconds(due.Add(time.Hour))}})
		}
		s.feed(fed{survey: "s1", entry: entry{src: 1, seq: 20_001, due: seconds(due)}})
		in(s, func() {
			for _, l := range s.lanes {
				switch l.entries[0].src % 4 { // each has something whose time has passed
				case 0:
					l.bringAt = time.Now().Add(-time.Second)
				case 1:
					l.held = time.Now().Add(-time.Second)
				}
			}
		})
		time.Sleep(time.Second)
		if n := looks(s, 10*time.Second); n != 0 {
			t.Errorf("all lanes were looked at %d times in 10 s in which nothing was to be done", n)
		}
		if n := looks(s, 15*time.Second); n < 1 || n > 20 {
			t.Errorf("all lanes were looked at %d times for one event, want a few times", n)
		}
	})
}

// TestNoChangeIsLostHoweverManyEndpointsChangeAtOnce: an endpoint that was switched off
// holds its lane for ten minutes, unless its change is heard.
func TestNoChangeIsLostHoweverManyEndpointsChangeAtOnce(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
		must(t, err)
		defer board.Close()
		o := New(js, &slow{}, Options{Health: board})
		s, _, end := running(t, server, o)
		defer end()
		const many = 2000
		var lanes []*lane
		in(s, func() { // which takes a while
			for i := range many {
				l := s.lane(events.Survey(fmt.Sprint("other", i)))
				l.add(entry{src: 1, seq: 1})
				l.hold(time.Now().Add(10 * time.Minute))
				l.flying = laneFly // none of its events is tried
				lanes = append(lanes, l)
			}
			for _, l := range lanes {
				for range 2 {
					s.poke(l.survey)
				}
			}
		})
		time.Sleep(time.Second)
		in(s, func() {
			held := 0
			for _, l := range lanes {
				if !l.held.IsZero() {
					held++
				}
			}
			if held > 0 {
				t.Errorf("%d of %d lanes are held although their endpoints have changed", held, many)
			}
		})
	})
}

// asked is a deliverer that says what it is told to.
type asked struct {
	slow
	say chan Result
}

func (a *asked) Ask(context.Context, events.Survey, bool) Result { return <-a.say }

// TestWhatWasSaidOfAnEndpointBeforeItChangedHoldsNothing: that it was switched off, while
// somebody switched it on.
func TestWhatWasSaidOfAnEndpointBeforeItChangedHoldsNothing(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
		must(t, err)
		defer board.Close()
		d := &asked{say: make(chan Result)}
		s, _, end := running(t, server, New(js, d, Options{Health: board}))
		defer end()
		must(t, Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Published: time.Now(), Parked: time.Now(), DueNow: true, Body: []byte("{}")}))
		time.Sleep(time.Second) // it is being asked for
		s.poke("s1")
		time.Sleep(10 * time.Millisecond)
		d.say <- Result{Verdict: Held, After: 10 * time.Minute}
		select {
		case d.say <- Result{}:
		case <-time.After(time.Second):
			t.Error("nobody asks again in a second")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d.sent.Load() != 1 {
			t.Errorf("the event was sent %d times, want once", d.sent.Load())
		}
		in(s, func() { // what is said of it as it is now does hold it
			l := s.lane("s1")
			l.add(entry{src: 8, seq: 100})
			s.tend(t.Context(), l)
		})
		d.say <- Result{Verdict: Held, After: 10 * time.Minute}
		select {
		case d.say <- Result{}:
			t.Error("it is asked for again at once")
		case <-time.After(9 * time.Minute):
		}
	})
}
