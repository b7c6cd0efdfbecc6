package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// ErrNoReplay says that there is no such job.
var ErrNoReplay = errors.New("there is no such replay")

const (
	changeTries = 16  // a compare-and-set that is lost so often is somebody else's turn
	keepEnded   = 200 // jobs that have ended and are still listed
)

// Create writes a new job, which replicas then begin to work on, and forgets the
// oldest of those that ended long ago.
func Create(ctx context.Context, js jetstream.JetStream, names events.Names, r Record) error {
	if err := r.validate(); err != nil {
		return err
	}
	kv, err := open(ctx, js, names)
	if err != nil {
		return err
	}
	if err := tidy(ctx, js, names, kv); err != nil {
		return err
	}
	if _, err := kv.Create(ctx, r.ID, encode(r)); err != nil {
		return fmt.Errorf("write replay %s: %w", r.ID, err)
	}
	return nil
}

func open(ctx context.Context, js jetstream.JetStream, names events.Names) (jetstream.KeyValue, error) {
	kv, err := walk.Bucket(ctx, js, names.Replays())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", names.Replays(), err)
	}
	return kv, nil
}

// tidy forgets what ended long ago.
func tidy(ctx context.Context, js jetstream.JetStream, names events.Names, kv jetstream.KeyValue) error {
	all, err := List(ctx, js, names)
	if err != nil {
		return err
	}
	ended := slices.DeleteFunc(all, func(r Record) bool { return !r.State.Ended() })
	for _, r := range ended[min(keepEnded, len(ended)):] {
		if err := kv.Purge(ctx, r.ID); err != nil {
			return fmt.Errorf("forget replay %s: %w", r.ID, err)
		}
	}
	return nil
}

// Look reads one job as it stands. The error is [ErrNoReplay] when there is none.
func Look(ctx context.Context, js jetstream.JetStream, names events.Names, id string) (Record, error) {
	kv, err := open(ctx, js, names)
	if err != nil {
		return Record{}, err
	}
	r, _, err := get(ctx, kv, id)
	return r, err
}

func get(ctx context.Context, kv jetstream.KeyValue, id string) (Record, uint64, error) {
	e, err := kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, 0, fmt.Errorf("replay %s: %w", id, ErrNoReplay)
	}
	if err != nil {
		return Record{}, 0, fmt.Errorf("read replay %s: %w", id, err)
	}
	r, err := decode(e.Value())
	return r, e.Revision(), err
}

// List reads every job, the newest first. Those of a newer version are left out.
func List(ctx context.Context, js jetstream.JetStream, names events.Names) ([]Record, error) {
	kv, err := open(ctx, js, names)
	if err != nil {
		return nil, err
	}
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the replays: %w", err)
	}
	var all []Record
	for id := range keys.Keys() {
		if r, _, err := get(ctx, kv, id); err == nil {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Record) int { return b.At.Compare(a.At) })
	return all, ctx.Err()
}

// Change is a compare-and-set on one job, with what stands in the bucket. It
// returns the job as it stands then; an error of change is returned as it is, and
// nothing is written.
func Change(ctx context.Context, js jetstream.JetStream, names events.Names, id string, change func(*Record) error) (Record, error) {
	kv, err := open(ctx, js, names)
	if err != nil {
		return Record{}, err
	}
	for range changeTries {
		r, revision, err := get(ctx, kv, id)
		if err != nil {
			return r, err
		}
		before := encode(r)
		if err := change(&r); err != nil {
			return r, err
		}
		value := encode(r)
		if string(value) == string(before) {
			return r, nil
		}
		_, err = kv.Update(ctx, id, value, revision)
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return r, fmt.Errorf("write replay %s: %w", id, err)
		}
	}
	return Record{}, fmt.Errorf("write replay %s: others write it all the time; try again", id)
}
