package deliverylog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
)

const (
	writeEvery = 250 * time.Millisecond // what a crash can lose, and what a follower waits
	answerTime = 5 * time.Second        // how long one confirmation is waited for
	pauseAfter = time.Second            // after a write that failed, so that an outage is no storm
	writers    = 8                      // messages on their way at once
	linger     = time.Hour              // what waited longer is dropped: readers of a time range look no further behind it
)

// Run writes what was taken in, until ctx ends. What is buffered then stays for
// [Log.Flush].
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = l.o.Panics.Try(panics.PlaceLog, func() error { return l.write(ctx, false, (*Log).takeAll) }) // told in the log and counted
		case <-l.full:
			_ = l.o.Panics.Try(panics.PlaceLog, func() error { return l.write(ctx, false, (*Log).takeFull) })
		}
	}
}

// Flush writes everything there is, and returns when it is confirmed or lost, or
// ctx has ended. The error says how much was lost.
func (l *Log) Flush(ctx context.Context) error {
	return l.write(ctx, true, (*Log).takeAll)
}

// write publishes what take gives, a few messages at a time, after whoever writes
// already; nobody waits for that, and so for NATS, beyond ctx. Unless forced it
// leaves everything where it is while the bus is known to be away.
func (l *Log) write(ctx context.Context, forced bool, take func(*Log) []*chunk) error {
	select {
	case l.writing <- struct{}{}:
	default: // or whoever has no time left would be told of a write that nobody makes
		select {
		case l.writing <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("write the delivery log: an earlier write goes on: %w", context.Cause(ctx))
		}
	}
	defer func() { <-l.writing }()
	if !forced && (time.Now().Before(l.pause) || l.js.Conn().Status() != nats.CONNECTED) {
		return nil
	}
	chunks := take(l)
	if len(chunks) == 0 {
		return nil
	}
	if !forced {
		ctx = context.WithoutCancel(ctx) // a stop must not cut what is on its way
	}
	p := &pass{log: l, forced: forced}
	p.publish(ctx, chunks)
	l.tell(p.loss, p.first)
	if p.first != nil {
		return fmt.Errorf("write the delivery log: %d records lost: %w", p.loss.Records, p.first)
	}
	return nil
}

// pass is one write of many chunks.
type pass struct {
	log    *Log
	forced bool // goes on after a failure

	mu    sync.Mutex // guards what follows
	loss  Loss
	first error // why the first chunk that failed did
}

// publish returns when every chunk is written, lost or put back.
func (p *pass) publish(ctx context.Context, chunks []*chunk) {
	started := time.Now()
	feed := make(chan *chunk)
	var wg sync.WaitGroup
	for range min(writers, len(chunks)) {
		wg.Go(func() {
			for c := range feed {
				p.one(ctx, c)
			}
		})
	}
	for _, c := range chunks {
		feed <- c
	}
	close(feed)
	wg.Wait()
	p.log.metrics.flush.Observe(time.Since(started).Seconds())
}

// one writes one chunk. Once one has failed, those not yet sent wait for better
// times, and so does one that certainly was not stored. One that may have been
// counts as lost: writing it again could double it.
func (p *pass) one(ctx context.Context, c *chunk) {
	if p.failed() && !p.forced {
		p.log.putBack(c)
		return
	}
	err := p.log.o.Panics.Try(panics.PlaceLog, func() error { return p.log.send(ctx, c) })
	switch {
	case err == nil:
		p.log.metrics.written.Add(float64(c.records))
	case unsent(err) && !p.forced:
		p.fail(Loss{}, err)
		p.log.putBack(c)
		return
	default:
		p.log.lose(c)
		p.fail(c.lost(), err)
	}
	p.log.retired.Put(c)
}

// unsent says that nobody can have stored it.
func unsent(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrReconnectBufExceeded)
}

func (p *pass) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first != nil
}

func (p *pass) fail(loss Loss, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loss.add(loss)
	if p.first == nil {
		p.first = err
	}
}

func (l *Log) lose(c *chunk) {
	s := &l.shards[c.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss.add(c.carries) // counted when it was lost
	l.drop(s, c.lost())
}

func (l *Log) send(ctx context.Context, c *chunk) error {
	if waited := time.Since(c.opened); waited > linger {
		return fmt.Errorf("waited for %s", waited.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, c.message(l.names, l.o.Replica))
	if err != nil {
		return err
	}
	if ack.Stream != l.names.Attempts() {
		return fmt.Errorf("stream %s took it, not %s", ack.Stream, l.names.Attempts())
	}
	return nil
}

// tell says once that records are being lost, and once that it is over.
func (l *Log) tell(loss Loss, err error) {
	switch {
	case err != nil:
		l.pause = time.Now().Add(pauseAfter)
		if !l.failing {
			l.o.Log.Warn().Err(err).Msg("the delivery log cannot be written; attempts go on, their records are dropped when there is no room for them")
		}
		l.failing = true
		l.healed.add(loss)
	case l.failing:
		l.failing = false
		l.o.Log.Info().Uint64("unconfirmed", l.healed.Records).Uint64("from", l.healed.Run.From).Uint64("to", l.healed.Run.To).
			Msg("the delivery log is written again; records that could not be confirmed lie between these sequences")
		l.healed = Loss{}
	}
}
