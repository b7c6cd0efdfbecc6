package consumer

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
)

// maxLater bounds what is kept for later. Only what was in hand at one moment
// can be here, so the bound is far above any real use.
const maxLater = 100_000

// later is what to tell the server when it can be told: acknowledgements while
// NATS is away, and, at a stop, what another replica may take at once.
type later struct {
	panics  *panics.Guard
	dropped func() // hears of each one for which there is no room; never nil

	mu   sync.Mutex // guards list
	list []func() error
}

func (l *later) add(send func() error) {
	if l.keep([]func() error{send}) > 0 {
		l.dropped()
	}
}

// keep puts what has room on the list, and returns how many have none.
func (l *later) keep(sends []func() error) (over int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(sends), maxLater-len(l.list))
	l.list = append(l.list, sends[:n]...)
	return len(sends) - n
}

// flush sends what it can and keeps the rest. What comes meanwhile does not wait
// for NATS: the list is taken out as a whole.
func (l *later) flush() {
	l.mu.Lock()
	list := l.list
	l.list = nil
	l.mu.Unlock()
	var kept []func() error
	for _, send := range list {
		err := l.panics.Try(panics.PlaceAck, send)
		switch {
		case errors.As(err, new(*panics.Panic)):
			l.dropped() // it would do so again
		case err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd):
			kept = append(kept, send)
		}
	}
	for range l.keep(kept) {
		l.dropped()
	}
}
