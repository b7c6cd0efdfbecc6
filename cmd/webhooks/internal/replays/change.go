package replays

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/replay"
)

// Change changes a replay's state as to does: [replay.Record.Stop],
// [replay.Record.Go] or [replay.Record.Drop]; unless first objects to how it stands; first may be nil.
// A change that its state does not allow is a [replay.Refused], and one that is made
// already is no error.
func (d *Desk) Change(ctx context.Context, id string, to func(r *replay.Record, at time.Time) error, first func(replay.Record) error) (replay.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := replay.Change(ctx, d.js, d.names, id, func(r *replay.Record) error {
		if first != nil {
			if err := first(*r); err != nil {
				return err
			}
		}
		return to(r, time.Now())
	})
	if err != nil || r.State != replay.Cancelled {
		return r, err
	}
	// Its consumer is removed here as well: the service may not be running.
	if err := d.js.DeleteConsumer(ctx, d.names.Stream(), d.names.ReplayConsumer(id)); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return r, err
	}
	return r, nil
}
