package main

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
)

// ringEvery is how often the key ring's file is looked at: a rotation needs no
// restart. The file is read rather than asked for its time, because a mounted
// secret is replaced by a link.
const ringEvery = 2 * time.Second

// ringInUse is the key ring this process opens secrets with, and shows its ids as
// a metric: before anything is sealed with a new key, every replica must have it.
type ringInUse struct {
	ring *config.Keyring // nil without one
	ids  *prometheus.GaugeVec
}

func (r *ringInUse) show(reg prometheus.Registerer) {
	r.ids = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "webhooks", Name: "keyring_key", Help: "1 for each key that this process can open secrets with.",
	}, []string{"key"})
	reg.MustRegister(r.ids)
	r.use(r.ring)
}

func (r *ringInUse) use(ring *config.Keyring) {
	r.ring = ring
	r.ids.Reset()
	if ring == nil {
		return
	}
	for _, id := range ring.IDs() {
		r.ids.WithLabelValues(id).Set(1)
	}
}

// follow gives the store the ring of a file whenever it changes, until ctx
// ends. A file that cannot be read changes nothing, and is told of once.
func (r *ringInUse) follow(ctx context.Context, path string, store *config.Store, log zerolog.Logger) {
	tick := time.NewTicker(ringEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := config.LoadKeyring(path)
		if err != nil {
			if told != err.Error() {
				told = err.Error()
				log.Error().Err(err).Msg("the key ring cannot be read; the one of before stays in use")
			}
			continue
		}
		told = ""
		if slices.Equal(now.IDs(), r.ring.IDs()) {
			continue
		}
		store.SetKeys(now)
		r.use(now)
		log.Info().Strs("keys", now.IDs()).Msg("the key ring has changed and is in use")
	}
}
