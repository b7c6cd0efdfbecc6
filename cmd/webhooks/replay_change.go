package main

import (
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
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
func (c *replayPause) Run(w *world) error { return c.change(w, (*replay.Record).Stop) }

type replayResume struct {
	replayChange `embed:""`
}

// Run resumes the replay.
func (c *replayResume) Run(w *world) error { return c.change(w, (*replay.Record).Go) }

type replayCancel struct {
	replayChange `embed:""`
}

// Run cancels the replay.
func (c *replayCancel) Run(w *world) error { return c.change(w, (*replay.Record).Drop) }

// change changes the replay's state.
func (t replayChange) change(w *world, to func(*replay.Record, time.Time) error) error {
	s, err := t.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := replays.New(s.js, s.names, nil).Change(w.ctx, t.ID, to, nil)
	if err != nil {
		return t.told(err)
	}
	if t.JSON {
		return w.printJSON(replays.ViewOf(r))
	}
	w.printf("replay %s is %s; replicas heed that within a second\n", r.ID, r.State)
	return nil
}
