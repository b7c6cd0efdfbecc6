package leases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// Picture is who lives and who holds what, at one moment.
type Picture struct {
	Replicas []Replica       // in the order of their announcements
	Holders  map[int]Holding // shard -> who holds it; a shard that is not there is nobody's
}

// Free are the shards that nobody holds, in order.
func (p Picture) Free(names events.Names) (free []int) {
	for shard := range names.ShardCount() {
		if _, held := p.Holders[shard]; !held {
			free = append(free, shard)
		}
	}
	return free
}

// Held is how many shards a replica holds.
func (p Picture) Held(replica string) (n int) {
	for _, h := range p.Holders {
		if h.Replica == replica {
			n++
		}
	}
	return n
}

// Look reads the picture from the buckets, once.
func Look(ctx context.Context, js jetstream.JetStream, names events.Names) (Picture, error) {
	p := Picture{Holders: map[int]Holding{}}
	err := lookInto(ctx, js, names.Replicas(), func(e jetstream.KeyValueEntry) {
		r := Replica{}
		if json.Unmarshal(e.Value(), &r) != nil || r.ID == "" {
			r = Replica{ID: e.Key()} // a newer version's: it lives all the same
		}
		p.Replicas = append(p.Replicas, r)
	})
	if err != nil {
		return p, err
	}
	err = lookInto(ctx, js, names.Leases(), func(e jetstream.KeyValueEntry) {
		var shard int
		if _, err := fmt.Sscanf(e.Key(), "%d", &shard); err != nil {
			return
		}
		h := Holding{}
		_ = json.Unmarshal(e.Value(), &h) // somebody's it is anyway
		p.Holders[shard] = h
	})
	return p, err
}

func lookInto(ctx context.Context, js jetstream.JetStream, bucket string, do func(jetstream.KeyValueEntry)) error {
	kv, err := walk.Bucket(ctx, js, bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return each(ctx, kv, do)
}

// each gives what is in a bucket now. One that was broken off is an error: a list of keys,
// as the client makes it, would end as if that were all.
func each(ctx context.Context, kv jetstream.KeyValue, do func(jetstream.KeyValueEntry), o ...jetstream.WatchOpt) error {
	watching, stop := context.WithCancel(ctx)
	w, err := kv.WatchAll(watching, append(o, jetstream.IgnoreDeletes())...)
	if err != nil {
		stop()
		return fmt.Errorf("read bucket %s: %w", kv.Bucket(), err)
	}
	defer func() {
		stop()
		for range w.Updates() { // the watch may be waiting to write
		}
	}()
	for e := range w.Updates() {
		if e == nil {
			return nil // all that was there
		}
		do(e)
	}
	return errors.Join(ctx.Err(), fmt.Errorf("read bucket %s: the watch was closed", kv.Bucket()))
}
