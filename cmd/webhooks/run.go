package main

import (
	"errors"

	"github.com/popsee/webhooks/config"
)

type runCommand struct {
	config.Settings `embed:""`
}

// Run runs the service until it is told to stop.
func (c *runCommand) Run(w *world) error {
	log, flush := w.logger(c.Log)
	defer flush()
	v, err := openService(w.ctx, c.Settings, log)
	if err != nil {
		return err
	}
	log.Info().Str("version", programVersion()).Int("slots", c.Delivery.MaxInFlight).Msg("delivering")
	err = errors.Join(v.run(w.ctx), v.close())
	log.Info().AnErr("trouble", err).Msg("stopped")
	return err
}
