package replays

import (
	"context"

	"github.com/popsee/webhooks/consumer/replay"
)

// View is a replay as it is shown as JSON.
type View struct {
	replay.Record

	Uncounted uint64 `json:"uncounted,omitempty"` // events that were settled or deleted, and nobody has counted
}

// ViewOf shows a replay.
func ViewOf(r replay.Record) View { return View{r, r.Uncounted()} }

// Look reads one replay as it stands. The error is [replay.ErrNoReplay] when there
// is none.
func (d *Desk) Look(ctx context.Context, id string) (replay.Record, error) {
	return replay.Look(ctx, d.js, d.names, id)
}

// List reads every replay, the newest first.
func (d *Desk) List(ctx context.Context) ([]replay.Record, error) {
	return asked(ctx, func(ctx context.Context) ([]replay.Record, error) { return replay.List(ctx, d.js, d.names) })
}
