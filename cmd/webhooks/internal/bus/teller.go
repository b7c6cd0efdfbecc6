package bus

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// toldEvery is how often trouble on the connection is told while it lasts.
const toldEvery = 10 * time.Second

// teller logs what happens to the connection, and not more often than anybody
// can read. That the connection is lost must not keep from being told why it does not
// come back.
type teller struct {
	log            zerolog.Logger
	losses, causes zerolog.Logger // drop what comes too often
}

func newTeller(log zerolog.Logger) *teller {
	seldom := func() zerolog.Logger { return log.Sample(&zerolog.BurstSampler{Burst: 1, Period: toldEvery}) }
	return &teller{log: log, losses: seldom(), causes: seldom()}
}

func (t *teller) lost(_ *nats.Conn, err error) {
	if err != nil {
		t.losses.Warn().Err(err).Msg("NATS is away; what is in hand goes on, nothing is lost")
	}
}

func (t *teller) back(nc *nats.Conn) {
	t.log.Info().Str("server", nc.ConnectedServerName()).Uint64("reconnects", nc.Stats().Reconnects).Msg("NATS is back")
}

func (t *teller) trouble(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrConnectionClosed) {
		return
	}
	t.causes.Warn().Err(err).Msg("trouble on the NATS connection")
}
