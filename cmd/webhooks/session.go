package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// askTime bounds one question of a command to NATS.
const askTime = 15 * time.Second

// connection is what every command that talks to NATS takes. Told nothing, it
// talks to the embedded server of a `webhooks run` on this machine.
type connection struct {
	Config config.ConfigFile   `name:"config" short:"c" env:"WEBHOOKS_CONFIG" placeholder:"FILE" help:"YAML file with settings; keys are the names of these flags."`
	NATS   config.NATSSettings `embed:"" group:"NATS:"`
	Prefix string              `name:"prefix" env:"WEBHOOKS_PREFIX" placeholder:"NAME" help:"The deployment's prefix on the bus." group:"NATS:"`
}

// session is an open connection for one command.
type session struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	names events.Names
}

func (c connection) open(w *world) (*session, error) {
	names, err := events.NewNames(c.Prefix)
	if err != nil {
		return nil, usage{err}
	}
	nc, err := bus.Connect(c.NATS, bus.Options{Name: "webhooks command line", Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	js, err := bus.JetStream(nc, c.NATS)
	if err != nil {
		nc.Close()
		return nil, err
	}
	w.asked = nc
	return &session{nc: nc, js: js, names: names}, nil
}

func (s *session) close() { s.nc.Close() }

// bucket opens one of the service's buckets.
func (s *session) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := walk.Bucket(ctx, s.js, name)
	if err != nil {
		return nil, withHint("start the service once, or run: webhooks provision", "open bucket %s: %w", name, err)
	}
	return kv, nil
}

func (w *world) asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, askTime)
}
