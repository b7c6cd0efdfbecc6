package main

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/replay"
)

// replayChange is what every command takes that changes a replay.
type replayChange struct {
	replayTarget `embed:""`
	JSON         bool `name:"json" help:"Print the replay as JSON, as it stands then."`
}

type replayPause struct {
	replayChange `embed:""`
}

// Run pauses the replay.
func (c *replayPause) Run(w *world) error { return c.change(w, (*replay.Record).Stop, nil) }

type replayResume struct {
	replayChange `embed:""`
}

// Run resumes the replay.
func (c *replayResume) Run(w *world) error { return c.change(w, (*replay.Record).Go, nil) }

type replayCancel struct {
	replayChange `embed:""`
}

// Run cancels the replay. Its consumer is removed here as well: the service may not
// be running.
func (c *replayCancel) Run(w *world) error {
	return c.change(w, (*replay.Record).Drop, func(s *session) error {
		err := s.js.DeleteConsumer(w.ctx, s.names.Stream(), s.names.ReplayConsumer(c.ID))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		return err
	})
}

// change changes the replay's state, and then does what else belongs to it.
func (t replayChange) change(w *world, to func(*replay.Record, time.Time) error, then func(s *session) error) error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := w.asking()
	defer cancel()
	r, err := replay.Change(ctx, s.js, s.names, t.ID, func(r *replay.Record) error { return to(r, time.Now()) })
	if err == nil && then != nil {
		err = then(s)
	}
	if err != nil {
		return t.told(err)
	}
	if t.JSON {
		return w.printJSON(viewOf(r))
	}
	w.printf("replay %s is %s; replicas heed that within a second\n", r.ID, r.State)
	return nil
}
