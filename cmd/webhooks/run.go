package main

import (
	"context"
	"errors"

	"github.com/popsee/webhooks/cmd/webhooks/internal/app"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/panics"
)

type runCommand struct {
	config.Settings `embed:""`
}

// Run runs the service until it is told to stop.
func (c *runCommand) Run(w *world) error {
	log, flush := w.logger(c.Log)
	defer flush()
	defer inBackground(nil, func(ctx context.Context) { app.KeepHeadroom(ctx, w.env("GOGC")) })()
	v, err := openService(w.ctx, c.Settings, w.env, log)
	if err != nil {
		return err
	}
	log.Info().Str("version", programVersion()).Int("slots", c.Delivery.MaxInFlight).Msg("delivering")
	err = errors.Join(v.run(w.ctx), v.close())
	log.Info().AnErr("trouble", err).Msg("stopped")
	return err
}

// inBackground runs f, anew after a panic, until the function it returns is called,
// which waits for it.
func inBackground(guard *panics.Guard, f func(ctx context.Context)) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		guard.Keep(ctx, panics.PlaceUpkeep, func() { f(ctx) })
	}()
	return func() {
		stop()
		<-done
	}
}
