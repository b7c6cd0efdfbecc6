package config

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why a watch is given up and begun again with a pass over everything.
var (
	errWatchClosed  = errors.New("the watch was closed")
	errOtherBucket  = errors.New("the bucket was made anew")
	errWatchBehind  = errors.New("the watch has missed a change")
	errPassSilent   = errors.New("the pass over the bucket brought nothing more and did not end")
	errKeysVanished = errors.New("keys were purged without a word to the watch")
)

// follow applies change after change, and compares the watch with the bucket
// from time to time and after every reconnect. It is long because it is the one
// list of what can happen to a watch.
func (f *follower) follow(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	s, l := f.store, newLooker(ctx, f.kv, f.store.js.Conn(), f.store.o.Panics)
	defer l.close()
	connected := s.js.Conn().StatusChanged(nats.CONNECTED)
	defer s.js.Conn().RemoveStatusListener(connected)
	idle := time.NewTicker(s.o.idleAfter())
	defer idle.Stop()
	next := time.NewTimer(s.o.checkEvery())
	defer next.Stop()
	var late <-chan time.Time
	awaited := false // somebody waits for a look that has not begun
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, open := <-updates:
			if !open {
				return errWatchClosed
			}
			if entry != nil {
				f.take(entry)
			}
		case <-s.behind:
			awaited = true
		case <-connected:
			f.counted = time.Time{}
			l.beginAnew()
		case <-next.C:
			l.begin()
		case result := <-l.done:
			if l.busy = false; l.lost {
				l.begin()
				continue
			}
			awaited = awaited && result.err == nil // without an answer the bucket is asked by whoever waits
			next.Reset(f.consider(result))
			late = nil
			if errors.Is(result.err, jetstream.ErrStreamNotFound) {
				return result.err
			}
		case <-late:
			if f.pending != nil {
				return errWatchBehind
			}
		case <-idle.C:
			s.table.evictIdle()
		}
		if err := f.judge(); err != nil {
			return err
		}
		if f.pending != nil && late == nil {
			late = time.After(catchUp)
		}
		if awaited && !l.busy && f.pending == nil { // or those who came first would wait for what came later
			awaited = false
			next.Reset(time.Until(l.began.Add(lookGap)))
		}
	}
}

// consider takes a look at the bucket in, and says when to look again. Without
// an answer nobody knows whether the watch is current.
func (f *follower) consider(l look) (again time.Duration) {
	every := f.store.o.checkEvery()
	if l.err != nil {
		f.store.stale()
		return min(every, retryLook)
	}
	if l.bucket.leader != f.bucket.leader {
		f.bucket.leader, f.led = l.bucket.leader, l.at
	}
	if !f.led.IsZero() && l.at.Sub(f.led) < newLeader {
		return newLeader
	}
	f.pending = &l
	return every
}

// judge compares the watch with the bucket, as soon as the watch has reached
// the sequence that the bucket had when it was looked at.
func (f *follower) judge() error {
	l := f.pending
	switch {
	case l == nil:
		return nil
	case !l.bucket.created.Equal(f.bucket.created) || l.bucket.lastSeq < f.bucket.lastSeq:
		return errOtherBucket
	case f.seen < l.bucket.lastSeq:
		return nil // it has a little time to catch up
	}
	// The number of keys can only be compared while nothing newer is known, and is compared
	// seldom: where somebody purges key after key, each time is the beginning of another pass.
	if f.seen == l.bucket.lastSeq && f.store.table.newest.Load() <= l.bucket.lastSeq && time.Since(f.counted) >= f.store.o.checkEvery() {
		f.counted = time.Now()
		if _, keys := f.store.table.size(); uint64(keys) != l.bucket.keys {
			return errKeysVanished
		}
	}
	f.pending, f.reconnects = nil, l.reconnects
	if n := f.store.Unloaded(); n > 0 && time.Since(f.warned) >= f.store.o.checkEvery() {
		f.warned = time.Now()
		f.store.o.Log.Warn().Int("endpoints", n).Int("bound", f.store.o.maxEndpoints()).
			Msg("more endpoints than may be in memory: NATS is asked for the others when their events come; raise --max-endpoints where there is memory")
	}
	f.current(l.at)
	return nil
}
