package leases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/delivery/panics"
)

// rewatchWait is the pause after a watch that ended. Until then, and should the
// watch have gone blind, the round of every renewal finds out.
const rewatchWait = time.Second

// watchAfter lets the first round take what there is to take.
const watchAfter = 100 * time.Millisecond

// keepWatching asks for a round at once when somebody came or went, or let a
// shard go, so that nothing is without an owner for longer than it takes to hear.
func (k *Keeper) keepWatching(ctx context.Context, bucket string) {
	for ctx.Err() == nil {
		if err := k.o.Panics.Try(panics.PlaceLeases, func() error { return k.watch(ctx, bucket) }); err != nil && ctx.Err() == nil {
			k.o.Log.Debug().Err(err).Msg("leases could not be watched")
		}
		wait.For(ctx, rewatchWait)
	}
}

func (k *Keeper) watch(ctx context.Context, bucket string) error {
	kv, err := k.js.KeyValue(ctx, bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", bucket, err)
	}
	defer func() { _ = w.Stop() }() // its context ends it as well
	k.wake()                        // what moved before is not told
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch was closed")
			}
			if e != nil && k.moves(e) {
				k.wake()
			}
		}
	}
}

// moves says whether an update may change who should hold what. Renewals, which
// nearly all of them are, do not.
func (k *Keeper) moves(e jetstream.KeyValueEntry) bool {
	if e.Operation() != jetstream.KeyValuePut {
		return true
	}
	known := slices.ContainsFunc(k.Replicas(), func(r Replica) bool { return r.ID == e.Key() })
	return e.Bucket() == k.names.Replicas() && !known
}

func (k *Keeper) wake() {
	select {
	case k.moved <- struct{}{}:
	default:
	}
}
