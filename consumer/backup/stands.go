package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/mark"
)

// stands says whether the restored deployment goes on where the other one was copied:
// the live consumer stands there, and agrees with the mark. In a cluster a consumer
// stands nowhere until its leader has begun.
func (d *restorer) stands(ctx context.Context, m Manifest) error {
	if !m.Live {
		return nil // never started: it will begin as it would have begun there
	}
	names := d.o.Layout.Names
	return d.until(ctx, "find the live consumer where it stood", func(ctx context.Context) (bool, error) {
		stream, err := d.js.Stream(ctx, names.Stream())
		if err != nil {
			return false, err
		}
		cons, err := stream.Consumer(ctx, names.Consumer())
		if err != nil {
			return false, err
		}
		if floor := mark.Floor(cons.CachedInfo()); floor < m.Settled {
			return false, fmt.Errorf("it stands at sequence %d, and stood at %d", floor, m.Settled)
		}
		alarm, err := mark.Check(ctx, d.js, d.o.Layout)
		if alarm != nil {
			return false, alarm
		}
		return err == nil, err
	})
}

// behind names the streams of which a node has not everything yet. It is no error:
// nodes may be away, and the others go on.
func (d *restorer) behind(ctx context.Context) (behind []string, err error) {
	err = d.until(ctx, "wait for every copy", func(ctx context.Context) (bool, error) {
		behind = nil
		for _, stream := range d.made {
			s, err := d.js.Stream(ctx, stream)
			if err != nil {
				return false, err
			}
			if !current(s.CachedInfo()) {
				behind = append(behind, stream)
			}
		}
		return behind == nil, nil
	})
	if behind != nil && ctx.Err() == nil {
		return behind, nil
	}
	return behind, errors.Join(err, ctx.Err())
}

// current says whether every copy of a stream is complete.
func current(info *jetstream.StreamInfo) bool {
	if info.Cluster == nil {
		return info.Config.Replicas <= 1
	}
	for _, peer := range info.Cluster.Replicas {
		if !peer.Current || peer.Offline {
			return false
		}
	}
	return info.Cluster.Leader != "" && len(info.Cluster.Replicas) >= info.Config.Replicas-1
}
