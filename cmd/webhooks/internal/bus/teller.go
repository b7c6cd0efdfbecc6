package bus

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// toldEvery is how often trouble on the connection is told while it lasts.
const toldEvery = 10 * time.Second

// teller logs what happens to the connection, and not more often than anybody
// can read.
type teller struct {
	log  zerolog.Logger
	mu   sync.Mutex // guards last
	last time.Time
}

func (t *teller) mayTell() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < toldEvery {
		return false
	}
	t.last = time.Now()
	return true
}

func (t *teller) lost(_ *nats.Conn, err error) {
	if err != nil && t.mayTell() {
		t.log.Warn().Err(err).Msg("NATS is away; what is in hand goes on, nothing is lost")
	}
}

func (t *teller) back(nc *nats.Conn) {
	t.log.Info().Str("server", nc.ConnectedServerName()).Uint64("reconnects", nc.Stats().Reconnects).Msg("NATS is back")
}

func (t *teller) trouble(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrConnectionClosed) || !t.mayTell() {
		return
	}
	t.log.Warn().Err(err).Msg("trouble on the NATS connection")
}
