package consumer

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// One that panics would do so for ever: it is dropped, and its event comes again.
func TestAnAcknowledgementThatPanicsIsDropped(t *testing.T) {
	dropped, sent := 0, 0
	l := &later{dropped: func() { dropped++ }}
	l.add(func() error { panic("no message") })
	l.add(func() error { sent++; return nil })
	l.flush()
	l.flush()
	if dropped != 1 || sent != 1 || len(l.list) != 0 {
		t.Errorf("%d dropped, %d sent, %d kept; want one dropped and one sent", dropped, sent, len(l.list))
	}
}

func TestWhatIsToldLaterIsSentWithoutHoldingAnybodyUp(t *testing.T) {
	l := &later{dropped: func() { t.Error("something was dropped") }}
	sent := map[string]int{}
	away := true
	send := func(name string) func() error {
		return func() error {
			if away {
				return errors.New("NATS is away")
			}
			sent[name]++
			return nil
		}
	}
	l.add(send("first"))
	l.add(func() error { // whoever settles a message while others are being sent does not wait for them
		if away {
			return errors.New("NATS is away")
		}
		l.add(send("while sending"))
		return jetstream.ErrMsgAlreadyAckd
	})
	l.flush()
	if len(l.list) != 2 {
		t.Fatalf("%d are kept while NATS is away, want 2", len(l.list))
	}
	away = false
	l.flush()
	l.flush()
	l.flush()
	if sent["first"] != 1 || sent["while sending"] != 1 || len(l.list) != 0 {
		t.Errorf("sent: %v, and %d are kept; want each once, and none", sent, len(l.list))
	}
}

func TestWhatHasNoRoomForLaterIsCounted(t *testing.T) {
	dropped, away := 0, true
	l := &later{dropped: func() { dropped++ }}
	fails := func() error {
		if away {
			return errors.New("NATS is away")
		}
		return nil
	}
	for range maxLater + 3 {
		l.add(fails)
	}
	if dropped != 3 {
		t.Errorf("%d are told as dropped, want 3", dropped)
	}
	l.add(fails)
	l.flush()
	if dropped != 4 || len(l.list) != maxLater {
		t.Errorf("%d are told as dropped and %d kept, want 4 and %d", dropped, len(l.list), maxLater)
	}
	away = false
	l.flush()
	if len(l.list) != 0 {
		t.Errorf("%d are kept after NATS is back", len(l.list))
	}
}
