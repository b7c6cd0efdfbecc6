package lanes

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// remake removes the lanes stream and makes it anew: its sequences begin at 1 again.
func remake(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	must(t, js.DeleteStream(t.Context(), (events.Names{}).Lanes()))
	time.Sleep(10 * time.Millisecond)
	_, err := js.CreateStream(t.Context(), (layout.Layout{}).Own()[0])
	must(t, err)
}

// parkThem parks events of a survey, with sources from first on.
func parkThem(t *testing.T, js jetstream.JetStream, survey events.Survey, first uint64, n int) (parked []Waiting) {
	t.Helper()
	for i := range n {
		w := waiting(survey, first+uint64(i))
		must(t, Park(t.Context(), js, events.Names{}, w))
		parked = append(parked, w)
	}
	return parked
}

// copies is how many copies stand in the lanes stream.
func copies(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), (events.Names{}).Lanes())
	must(t, err)
	return stream.CachedInfo().State.Msgs
}

// TestAnotherEventAtItsSequenceIsNotSentToItsEndpoint: the sequence was used again, and
// the body is another customer's, or another event's of the same.
func TestAnotherEventAtItsSequenceIsNotSentToItsEndpoint(t *testing.T) {
	for _, other := range []events.Survey{"s2", "s1"} {
		t.Run(string(other), func(t *testing.T) {
			bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
				lease, _ := leased(t, server, "s1")
				old := parkThem(t, js, "s1", 7, 1)[0]
				remake(t, js)
				parkThem(t, js, other, 7, 1)
				d, left := &slow{}, false
				s := newShard(t.Context(), New(js, d, Options{}), lease)
				s.letGo = func() { left = true }
				if l := s.try(t.Context(), "s1", entryOf(old, 1), false, time.Time{}); l.result.Verdict != Held || l.gone || d.sent.Load() != 0 {
					t.Errorf("it ended as %+v, sent %d times", l.result, d.sent.Load())
				}
				if !left {
					t.Error("the shard is not read anew")
				}
			})
		})
	}
}

// TestNothingOfOthersIsRemoved where the sequences of what is done with were used again:
// neither another customer's, nor what its own endpoint has not been sent.
func TestNothingOfOthersIsRemoved(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		var old []entry
		for i, w := range parkThem(t, js, "s1", 1, 4) {
			old = append(old, entryOf(w, uint64(i+1)))
		}
		remake(t, js)
		parkThem(t, js, "s1", 101, 2)
		parkThem(t, js, "s2", 201, 2)
		o := New(js, nil, Options{})
		must(t, o.remove(t.Context(), "s1", removal{upTo: old[:2], singles: old[2:]}))
		must(t, o.remove(t.Context(), "s1", removal{upTo: old}))
		if n := copies(t, js); n != 4 {
			t.Errorf("%d copies are left, want all 4", n)
		}
	})
}

// TestWhatIsDoneWithIsRemovedUpToTheLastThatStands: a removal whose answer was lost may
// have taken some of it.
func TestWhatIsDoneWithIsRemovedUpToTheLastThatStands(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		var done []entry
		for i, w := range parkThem(t, js, "s1", 1, 4) {
			done = append(done, entryOf(w, uint64(i+1)))
		}
		o := New(js, nil, Options{})
		must(t, o.remove(t.Context(), "s1", removal{singles: done[2:3]}))
		must(t, o.remove(t.Context(), "s1", removal{upTo: done[:3]}))
		if n := copies(t, js); n != 1 {
			t.Errorf("%d copies are left, want the one that was not to be removed", n)
		}
	})
}

// recorder is a deliverer that notes what it is given, once it is open.
type recorder struct {
	mu   sync.Mutex // guards what follows
	open bool
	got  []string
}

func (r *recorder) Ask(context.Context, events.Survey, bool) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open {
		return Result{Verdict: Held}
	}
	return Result{}
}

func (r *recorder) Deliver(_ context.Context, w Waiting) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%s: %s of %s", w.Survey, w.EventID, w.Body))
	return Result{Verdict: Done}
}

func (r *recorder) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.got))
}

// owning works on all shards over a wire of its own, until the test ends.
func owning(t *testing.T, server *bustest.Server, js jetstream.JetStream, d Deliverer) (over *bustest.Wire, stop func()) {
	t.Helper()
	board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
	must(t, err)
	over = &bustest.Wire{}
	nc := server.ConnectOver(over)
	js = bustest.JetStream(t, nc)
	k := leases.New(js, events.Names{}, leases.Options{Self: leases.Replica{ID: "a"}})
	o := New(js, d, Options{Health: board})
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx, o.Own)
	}()
	return over, func() {
		end()
		<-ended
		nc.Close()
		board.Close()
	}
}

// TestALanesStreamThatIsMadeAnewUnderItsOwner: other customers' events stand at the
// sequences of what waited. None of them goes to an endpoint that is not its own, none is
// removed unsent, and what is parked from then on is delivered.
func TestALanesStreamThatIsMadeAnewUnderItsOwner(t *testing.T) {
	for name, away := range map[string]bool{"while it reads": false, "while its connection is away": true} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
				d := &recorder{}
				wire, stop := owning(t, server, js, d)
				defer stop()
				time.Sleep(time.Second)
				park := func(survey events.Survey, first uint64, n int) (want []string) {
					t.Helper()
					for i := range n {
						w := waiting(survey, first+uint64(i))
						w.Body = []byte(survey)
						must(t, Park(t.Context(), js, events.Names{}, w))
						want = append(want, fmt.Sprintf("%s: %s of %s", survey, w.EventID, survey))
					}
					return want
				}
				park("s1", 1, 100)
				time.Sleep(time.Second)
				if away {
					wire.Hold()
				}
				remake(t, js)
				want := park("s2", 201, 40)
				want = append(want, park("s1", 301, 10)...)
				if away {
					time.Sleep(time.Second)
					wire.Release()
				}
				d.begin()
				time.Sleep(time.Minute)
				want = append(want, park("s3", 401, 10)...)
				want = append(want, park("s1", 501, 10)...)
				time.Sleep(time.Minute)
				slices.Sort(want)
				if got := d.all(); !slices.Equal(got, want) {
					t.Errorf("delivered were %d:\n%q\nwant %d:\n%q", len(got), got, len(want), want)
				}
				if n := copies(t, js); n != 0 {
					t.Errorf("%d copies are left of what was delivered", n)
				}
			})
		})
	}
}

// TestWhatIsNotThereAnyMoreHoldsNothingUp: the stream that was made anew has not come to
// the sequences of what waited, so nobody can say that it is gone.
func TestWhatIsNotThereAnyMoreHoldsNothingUp(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		d := &recorder{}
		parkThem(t, js, "s2", 1, 50)
		_, stop := owning(t, server, js, d)
		defer stop()
		time.Sleep(time.Second)
		parkThem(t, js, "s1", 101, laneFly)
		time.Sleep(time.Second)
		remake(t, js)
		parkThem(t, js, "s1", 201, 10)
		d.begin()
		time.Sleep(time.Minute)
		if n, left := len(d.all()), copies(t, js); n != 10 || left != 0 {
			t.Errorf("%d events were delivered, want the 10 that are there; %d copies are left", n, left)
		}
	})
}

// TestACopyThatCannotBeReadIsProbedWithInTurn, as one that its endpoint refuses: else
// nobody finds out that the endpoint works again.
func TestACopyThatCannotBeReadIsProbedWithInTurn(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		board, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
		must(t, err)
		defer board.Close()
		lease, _ := leased(t, server, "s1")
		d := &recorder{open: true}
		s := newShard(t.Context(), New(js, d, Options{Health: board}), lease)
		s.read = true
		l := s.lane("s1")
		l.add(entryOf(waiting("s1", 1), 1000)) // nobody can say what became of it
		for i, w := range parkThem(t, js, "s1", 2, 3) {
			l.add(entryOf(w, uint64(i+1)))
		}
		l.failsSince(time.Now(), FirstWait)
		for range 5 {
			for s.tend(t.Context(), l); s.jobs > 0 && len(d.all()) == 0; s.jobs-- {
				(<-s.ended)()
			}
			time.Sleep(FirstWait + time.Second)
		}
		if n := len(d.all()); n == 0 {
			t.Error("after five probes nothing was sent")
		}
		for ; s.jobs > 0; s.jobs-- {
			<-s.ended
		}
	})
}
