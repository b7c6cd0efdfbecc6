package lanes

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// TestSlowLanesLeaveSlotsToAQuickOne has lanes that never end a try, and takes back each
// slot they are given as soon as it is free. Beside them one lane must go on.
func TestSlowLanesLeaveSlotsToAQuickOne(t *testing.T) {
	for _, c := range []struct{ slow, each, left int }{
		{slow: 1, each: laneFly, left: laneFly}, // nobody is held back who does no harm
		{slow: 2, each: laneFly, left: 43},
		{slow: 4, each: 51, left: 26},
		{slow: 64, each: 3, left: 2},
		{slow: 200, each: 1, left: 1},
	} {
		s := newShard(t.Context(), New(nil, nil, Options{}), nil)
		take := func(l *lane) bool {
			if l.flying >= laneFly {
				return false
			}
			_, ok := s.slot(l, time.Now())
			if ok {
				l.flying++
			}
			return ok
		}
		slow := make([]*lane, c.slow)
		for i := range slow {
			slow[i] = filled(1000)
			for take(slow[i]) {
			}
		}
		for range 10 * defaultSlots { // a try ends, its lane takes what it can
			for _, l := range slow {
				if l.flying > 0 {
					<-s.o.slots
					l.flying--
				}
				for take(l) {
				}
			}
		}
		least := laneFly
		for _, l := range slow {
			least = min(least, l.flying)
		}
		if least < c.each {
			t.Errorf("%d slow lanes: one has %d slots, want at least %d", c.slow, least, c.each)
		}
		quick := filled(1000)
		for take(quick) {
		}
		if quick.flying < c.left {
			t.Errorf("%d slow lanes: %d slots are left for a quick one, want at least %d", c.slow, quick.flying, c.left)
		}
	}
}

// TestAnEndpointThatHasWorkedSinceIsNotDisabled: another owner has seen it work, and this
// one has not heard of that.
func TestAnEndpointThatHasWorkedSinceIsNotDisabled(t *testing.T) {
	for name, worked := range map[string]bool{"it has worked": true, "it has not": false} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
				mine, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
				must(t, err)
				other, err := health.Open(t.Context(), js, events.Names{}, health.Options{})
				must(t, err)
				defer other.Close()
				began := time.Now()
				must(t, mine.Failed(t.Context(), "s1", health.Failure{At: began, Reason: "timeout"}))
				mine.Close() // it hears of nothing more
				if worked {
					must(t, other.Works(t.Context(), "s1", time.Time{}))
				}
				o := New(js, nil, Options{Health: mine})
				s := newShard(t.Context(), o, nil)
				now := began.Add(o.o.disableAfter())
				s.failed(s.lane("s1"), Result{Reason: "503"}, now)
				r, err := other.Confirm(t.Context(), "s1")
				must(t, err)
				if !r.Failing() || (r.Disabled != nil) == worked {
					t.Errorf("the record is %+v", r)
				}
				if worked && !r.Since.Equal(now) {
					t.Errorf("it fails since %s, want %s", r.Since, now)
				}
			})
		})
	}
}

// TestAnEventOfANewerVersionOutlivesItsLane: this version has nothing to do in its lane,
// which ends, and then delivers another event of the same survey that came behind it.
func TestAnEventOfANewerVersionOutlivesItsLane(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		d := &slow{}
		s, _, end := running(t, server, New(js, d, Options{Health: board}))
		defer end()
		newer, err := js.PublishMsg(t.Context(), &nats.Msg{
			Subject: names.LaneSubject("s1"), Header: nats.Header{events.FormatHeader: {"2"}}, Data: []byte("{}"),
		})
		must(t, err)
		time.Sleep(time.Second)
		in(s, func() {
			if len(s.lanes) != 0 {
				t.Error("its lane has not ended")
			}
		})
		must(t, Park(t.Context(), js, names, waiting("s1", 7)))
		time.Sleep(5 * time.Second)
		if n := d.sent.Load(); n != 1 {
			t.Errorf("the event behind it was sent %d times, want once", n)
		}
		stream, err := js.Stream(t.Context(), names.Lanes())
		must(t, err)
		if n := stream.CachedInfo().State.Msgs; n != 1 {
			t.Errorf("%d copies are left, want the newer version's alone", n)
		}
		_, err = stream.GetMsg(t.Context(), newer.Sequence)
		if err != nil {
			t.Errorf("the newer version's event: %v", err)
		}
	})
}
