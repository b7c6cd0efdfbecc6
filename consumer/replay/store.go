package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// ErrNoReplay says that there is no such job.
var ErrNoReplay = errors.New("there is no such replay")

const (
	changeTries = 16  // a compare-and-set that is lost so often is somebody else's turn
	keepEnded   = 200 // jobs that have ended and are still listed

	appearTries = 40
	appearWait  = 50 * time.Millisecond // 40 times: 2 s
)

// Create writes a new job, which replicas then begin to work on, and forgets the
// oldest of those that ended long ago.
func Create(ctx context.Context, js jetstream.JetStream, names events.Names, r Record) error {
	kv, err := prepare(ctx, js, names, r)
	if err != nil {
		return err
	}
	_, err = create(ctx, kv, r)
	return err
}

// CreateOnce is [Create] for a job that may be there already: because it was asked
// for before, or is at this very moment, under the same idempotency key. Only one
// of them creates it; made says whether this one has. The others get it as it stands.
func CreateOnce(ctx context.Context, js jetstream.JetStream, names events.Names, r Record) (there Record, made bool, err error) {
	kv, err := prepare(ctx, js, names, r)
	if err != nil {
		return Record{}, false, err
	}
	r.Revision, err = create(ctx, kv, r)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return r, err == nil, err
	}
	there, err = appearing(ctx, kv, r.ID)
	return there, false, err
}

// appearing reads a job that is known to be there: on a cluster the server that
// answers may hear of it a moment later than the one that refused to create it.
func appearing(ctx context.Context, kv jetstream.KeyValue, id string) (r Record, err error) {
	for range appearTries {
		if r, err = get(ctx, kv, id); !errors.Is(err, ErrNoReplay) || !wait.For(ctx, appearWait) {
			break
		}
	}
	return r, err
}

func prepare(ctx context.Context, js jetstream.JetStream, names events.Names, r Record) (jetstream.KeyValue, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	kv, err := open(ctx, js, names)
	if err != nil {
		return nil, err
	}
	return kv, tidy(ctx, js, names, kv)
}

func create(ctx context.Context, kv jetstream.KeyValue, r Record) (revision uint64, err error) {
	if revision, err = kv.Create(ctx, r.ID, encode(r)); err != nil {
		return 0, fmt.Errorf("write replay %s: %w", r.ID, err)
	}
	return revision, nil
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
	return get(ctx, kv, id)
}

func get(ctx context.Context, kv jetstream.KeyValue, id string) (Record, error) {
	e, err := kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, fmt.Errorf("replay %s: %w", id, ErrNoReplay)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read replay %s: %w", id, err)
	}
	r, err := decode(e.Value())
	if err != nil {
		return r, fmt.Errorf("read replay %s: %w", id, err)
	}
	r.Revision = e.Revision()
	return r, nil
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
		if r, err := get(ctx, kv, id); err == nil {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, NewestFirst)
	return all, ctx.Err()
}

// NewestFirst is the order of [List].
func NewestFirst(a, b Record) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID))
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
		r, err := get(ctx, kv, id)
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
		revision, err := kv.Update(ctx, id, value, r.Revision)
		if err == nil {
			r.Revision = revision
			return r, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return r, fmt.Errorf("write replay %s: %w", id, err)
		}
	}
	return Record{}, fmt.Errorf("write replay %s: others write it all the time; try again", id)
}
