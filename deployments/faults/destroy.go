package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// These faults are people's, with the NATS command line at hand. What they destroy
// is gone by design; the service must say so, and lose nothing else.

// fillLanes lets the lanes stream take nothing more for a while: what would park
// stays in the event stream, unacknowledged.
func (s *suite) fillLanes(ctx context.Context) error {
	return s.limitLanes(ctx, 1, func() error { return process.Sleep(ctx, 10*time.Second) })
}

// limitLanes limits the lanes stream while do runs.
func (s *suite) limitLanes(ctx context.Context, bytes int64, do func() error) error {
	limit := func(bytes int64) error {
		return s.insist(ctx, func(ctx context.Context) error {
			stream, err := s.js.Stream(ctx, names.Lanes())
			if err != nil {
				return err
			}
			cfg := stream.CachedInfo().Config
			cfg.MaxBytes = bytes
			_, err = s.js.UpdateStream(ctx, cfg)
			return err
		})
	}
	if err := limit(bytes); err != nil {
		return fmt.Errorf("limit the lanes: %w", err)
	}
	return errors.Join(do(), limit(-1))
}

// ballast is the stream that fills the store.
const ballast = "BALLAST"

// fillStore fills the store of every node, and makes room again.
func (s *suite) fillStore(ctx context.Context) error {
	err := s.insist(ctx, func(ctx context.Context) error {
		_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: ballast, Subjects: []string{"ballast"}, Replicas: nodes, Storage: jetstream.FileStorage})
		return err
	})
	if err != nil {
		return err
	}
	s.fault()
	full := s.fill(ctx)
	began := time.Now()
	if full == nil {
		full = process.Sleep(ctx, 5*time.Second)
	}
	err = errors.Join(full, s.insist(ctx, func(ctx context.Context) error { return s.js.DeleteStream(ctx, ballast) }))
	s.breaking.laneless = append(s.breaking.laneless, stretch{began, time.Now()})
	return err
}

// fill publishes until the store takes nothing more.
func (s *suite) fill(ctx context.Context) error {
	load := make([]byte, 4<<20)
	for range 2 * int(s.tools.store) / len(load) {
		var api *jetstream.APIError
		err := s.insist(ctx, func(ctx context.Context) error {
			_, err := s.js.Publish(ctx, "ballast", load)
			if errors.As(err, &api) {
				return nil
			}
			return err
		})
		if api != nil || err != nil {
			return err
		}
	}
	return errors.New("the store was never full")
}

// deleteConsumer deletes the live consumer. It is made again behind the mark; what
// had been delivered since then is delivered again.
func (s *suite) deleteConsumer(ctx context.Context) error {
	floor, err := s.floorNow(ctx)
	if err != nil {
		return err
	}
	if err := process.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	s.fault()
	for _, e := range s.ledger.known(time.Now()) {
		if e.seq > floor {
			s.breaking.exposed++
		}
	}
	return s.insist(ctx, func(ctx context.Context) error { return s.js.DeleteConsumer(ctx, names.Stream(), names.Consumer()) })
}

// floorNow is the live consumer's floor.
func (s *suite) floorNow(ctx context.Context) (floor uint64, err error) {
	err = s.insist(ctx, func(ctx context.Context) (err error) {
		floor, _, err = s.floor(ctx)
		return err
	})
	return floor, err
}

// withoutBucket is how long a bucket is missing.
const withoutBucket = 2 * time.Second

// remakeBucket deletes a bucket and makes it anew, empty, or for the endpoints, with
// what was in it.
func remakeBucket(bucket string) func(*suite, context.Context) error {
	return func(s *suite, ctx context.Context) error {
		s.fault()
		if err := s.insist(ctx, func(ctx context.Context) error { return s.js.DeleteKeyValue(ctx, bucket) }); err != nil {
			return err
		}
		if err := process.Sleep(ctx, withoutBucket); err != nil {
			return err
		}
		if err := s.provision(ctx, s.tools.program("webhooks")); err != nil {
			return err
		}
		if bucket == names.Endpoints() {
			return s.putEndpoints(ctx, 0, withOne)
		}
		return nil
	}
}

// purge deletes every event, delivered or not.
func (s *suite) purge(ctx context.Context) error {
	floor, err := s.floorNow(ctx)
	if err != nil {
		return err
	}
	s.fault()
	first := uint64(0)
	err = s.insist(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, names.Stream())
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err == nil {
			_, first, err = s.floor(ctx)
		}
		return err
	})
	s.taken = append(s.taken, span{first: floor + 1, last: first - 1}, span{first: 1, last: first - 1, owed: true})
	return err
}
