package main

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// How often it is asked who leads, how long an answer may take, and after how long
// without one nobody may have led.
const (
	lookEvery    = 100 * time.Millisecond
	lookPatience = time.Second
	lookMissing  = 500 * time.Millisecond
)

// look is one answer to the question who leads.
type look struct {
	asked, answered time.Time
	leader          string
}

// watch asks again and again who leads something.
type watch struct {
	began time.Time
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex // guards looks
	looks []look
}

// startWatch asks until it is ended.
func startWatch(ctx context.Context, ask func(ctx context.Context) (*jetstream.ClusterInfo, error)) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{began: time.Now(), stop: stop}
	w.wg.Go(func() {
		for ctx.Err() == nil {
			w.look(ctx, ask)
			_ = process.Sleep(ctx, lookEvery) // ended, it is over
		}
	})
	return w
}

func (w *watch) look(ctx context.Context, ask func(ctx context.Context) (*jetstream.ClusterInfo, error)) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	l := look{asked: time.Now()}
	cluster, err := ask(ctx)
	if err != nil {
		return
	}
	if l.answered = time.Now(); cluster != nil { // a server alone leads everything
		l.leader = cluster.Leader
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, l)
}

// end ends it, if it was started.
func (w *watch) end() {
	if w != nil {
		w.stop()
		w.wg.Wait()
	}
}

// missing are the times in which nobody may have led, so far; after is how long there
// must be no answer for that.
func (w *watch) missing(now time.Time, after time.Duration) []stretch {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return leaderless(w.looks, stretch{w.began, now}, after)
}

// leaderless are the times in which nobody may have led: where there was no answer for so long,
// and where another one leads than before, from the last question that was answered by
// the one before until the first answer.
func leaderless(looks []look, in stretch, after time.Duration) []stretch {
	var all []stretch
	last := look{in.from, in.from, ""}
	for _, l := range looks {
		changed := last.leader != "" && l.leader != last.leader
		if changed || l.answered.Sub(last.answered) > after {
			all = append(all, stretch{last.asked, l.answered})
		}
		last = l
	}
	if in.to.Sub(last.answered) > after {
		all = append(all, stretch{last.asked, in.to})
	}
	return merged(all)
}
