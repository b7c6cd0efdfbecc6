package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
)

// How long one monitoring endpoint may take, and how much it may say.
const (
	monitorTime  = 3 * time.Second
	monitorBytes = 1 << 20
)

// durable is what a server says of how it keeps what it has acknowledged.
type durable struct {
	Server string `json:"server_id"`
	Config struct {
		SyncAlways   bool          `json:"sync_always"`
		SyncInterval time.Duration `json:"sync_interval"`
	} `json:"config"`
}

// WarnOfSync says what a loss of power would do to events that NATS has
// acknowledged. A server does not tell its clients how it syncs, its monitoring
// endpoint does: monitors are the addresses of those, each a base URL such as
// http://nats-0:8222. It never fails: a service that does not start for want of an
// answer here would lose more.
func WarnOfSync(ctx context.Context, monitors []string, log zerolog.Logger) {
	if len(monitors) == 0 {
		log.Info().Msg("whether NATS syncs every write cannot be seen from here; without sync_interval: always on every node a power failure loses events it has acknowledged (name the nodes' monitoring addresses with --nats-monitor to have it checked)")
	}
	for _, m := range monitors {
		s, err := SyncOf(ctx, m)
		switch {
		case err != nil:
			log.Warn().Err(err).Msg("whether NATS syncs every write could not be checked")
		case !s.Always:
			log.Warn().Str("monitor", config.RedactServers(m)).Stringer("sync_interval", s.Interval).
				Msg("this NATS node acknowledges events before they are on its disk: a power failure of several nodes loses those of the last sync_interval; set jetstream { sync_interval: always } on every node")
		}
	}
}

// Sync is how a server syncs what it has acknowledged.
type Sync struct {
	Always   bool          // before it acknowledges
	Interval time.Duration // otherwise: so often
}

// SyncOf asks the monitoring endpoint at a base URL such as http://nats-0:8222.
func SyncOf(ctx context.Context, monitor string) (Sync, error) {
	d, err := askSync(ctx, strings.TrimSuffix(strings.TrimSpace(monitor), "/")+"/jsz?config=true")
	if err != nil {
		err = fmt.Errorf("ask the monitoring endpoint of NATS at %s: %w", config.RedactServers(monitor), config.UnquotedURL(err))
	}
	return Sync{d.Config.SyncAlways, d.Config.SyncInterval}, err
}

func askSync(ctx context.Context, url string) (d durable, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return d, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return d, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return d, fmt.Errorf("it answered %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, monitorBytes))
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err == nil && d.Server == "" {
		err = errors.New("what answers there is none")
	}
	return d, err
}
