package lanes

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
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
				if l := s.try(t.Context(), "s1", entryOf(old, 1), false, time.Time{}); l.result.Verdict != Held || l.gone || d.sent != 0 {
					t.Errorf("it ended as %+v, sent %d times", l.result, d.sent)
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
