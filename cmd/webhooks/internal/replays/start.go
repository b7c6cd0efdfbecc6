package replays

import (
	"context"
	"errors"

	"github.com/popsee/webhooks/consumer/replay"
)

// Earlier gives the replay that was started for the same request under its
// idempotency key, and whether there is one. Another request under that key is
// [Refused].
func (d *Desk) Earlier(ctx context.Context, q Request) (r replay.Record, there bool, err error) {
	if err := CheckKey(q.Key); err != nil || q.Key == "" {
		return r, false, err
	}
	r, err = replay.Look(ctx, d.js, d.names, replay.IDOf(q.Key))
	if errors.Is(err, replay.ErrNoReplay) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	return r, true, same(r, q.Key, q.digest())
}

// same refuses a replay that was asked for in other words under the same key. A
// replica of a version that does not know keys leaves them out when it writes
// progress: the id, which is the key's, is then all there is to go by.
func same(r replay.Record, key, asked string) error {
	if r.Key == "" || r.Key == key && r.Asked == asked {
		return nil
	}
	return refuse(KeyUsed, r.ID, "the idempotency key was used for another request: replay %s", r.ID)
}

// Start starts what was planned; what is returned is durable, and replicas begin to
// work on it. Of several that start under one idempotency key at the same time one
// makes the replay, and made says so; the others get it.
func (d *Desk) Start(ctx context.Context, p Plan) (r replay.Record, made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r = p.Record
	if r.Events, err = replay.Count(ctx, d.js, d.names, r.Surveys, r.Start, r.End); err != nil {
		return r, false, err
	}
	if r.Events == 0 {
		return r, false, refuse(NoEvents, "", "there is no event to replay between sequence %d and %d", r.Start, r.End)
	}
	there, made, err := replay.CreateOnce(ctx, d.js, d.names, r)
	if err == nil && !made {
		err = same(there, r.Key, r.Asked)
	}
	return there, made, err
}
