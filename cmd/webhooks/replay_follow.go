package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/consumer/replay"
)

const (
	followEvery = 500 * time.Millisecond
	followSpan  = 5 * time.Second  // over which the rate is taken
	followLine  = 10 * time.Second // between lines, where nobody watches a bar

	followPatience = time.Minute // with a NATS that is away: the replay goes on in the service
)

// follow looks at a replay until it does not run any more, and returns how it
// stands then. A paused one is waited for.
func (s *session) follow(w *world, r replay.Record, asJSON bool) (replay.Record, error) {
	show := newFollowing(w, asJSON)
	defer show.end()
	heard := time.Now()
	for tick := time.NewTicker(followEvery); ; {
		if err := show.see(r, time.Now()); err != nil || settledDown(r, time.Now()) {
			tick.Stop()
			return r, err
		}
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			tick.Stop()
			return r, nil // interrupted: what is known so far is shown
		}
		next, err := replay.Look(w.ctx, s.js, s.names, r.ID)
		switch {
		case err == nil:
			r, heard = next, time.Now()
		case w.ctx.Err() == nil && (errors.Is(err, replay.ErrNoReplay) || time.Since(heard) > followPatience):
			return r, err
		}
	}
}

// settledDown says that nothing more is heard of a replay: it has ended, and its
// counts add up or will not any more.
func settledDown(r replay.Record, now time.Time) bool {
	return r.State.Ended() && (r.Uncounted() == 0 || !r.Reporting(now))
}

// following shows a replay as it goes: as a bar, lines or JSON.
type following struct {
	w       *world
	asJSON  bool
	all     *mpb.Progress // nil where nobody watches
	bar     *mpb.Bar
	beside  atomic.Pointer[string] // what stands beside the bar; all else here is see's goroutine's alone
	now     replay.Record
	rate    float64 // events a second, over the last seconds
	seen    []milestone
	printed time.Time
}

// milestone is how far a replay was at a moment.
type milestone struct {
	at   time.Time
	done uint64
}

func newFollowing(w *world, asJSON bool) *following {
	f := &following{w: w, asJSON: asJSON}
	if !asJSON {
		f.all = w.newBars()
	}
	if f.all != nil {
		f.beside.Store(new(string))
		f.bar = f.all.AddBar(0, mpb.PrependDecorators(decor.CountersNoUnit("%d / %d")),
			mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string { return *f.beside.Load() })), mpb.BarRemoveOnComplete())
	}
	return f
}

// see shows what a replay looks like now.
func (f *following) see(r replay.Record, at time.Time) error {
	changed := r.Updated != f.now.Updated || r.State != f.now.State
	f.advance(r, at)
	done, all := r.Handled(), r.Events
	switch {
	case f.bar != nil:
		words := "  " + f.words()
		f.beside.Store(&words)
		f.bar.SetTotal(int64(max(all, done, 1)), false) //nolint:gosec // far from what an int64 holds
		f.bar.SetCurrent(int64(done))                   //nolint:gosec // likewise
	case f.asJSON && changed && !r.State.Ended(): // its end is printed by whoever follows
		return f.w.printJSON(replays.ViewOf(r))
	case !f.asJSON && at.Sub(f.printed) >= followLine:
		f.printed = at
		f.w.printf("%d of %d, %s\n", done, all, f.words())
	}
	return nil
}

func (f *following) advance(r replay.Record, at time.Time) {
	f.now = r
	f.seen = append(f.seen, milestone{at, r.Counts.Sum()})
	for len(f.seen) > 2 && at.Sub(f.seen[1].at) >= followSpan {
		f.seen = f.seen[1:]
	}
	if span := at.Sub(f.seen[0].at).Seconds(); span > 0 {
		f.rate = float64(r.Counts.Sum()-min(f.seen[0].done, r.Counts.Sum())) / span
	}
}

// words are what stands beside the bar.
func (f *following) words() string {
	r := f.now
	words := fmt.Sprintf("%.0f/s", f.rate)
	if done, all := r.Handled(), r.Events; f.rate > 0 && all > done {
		words += ", " + spoken(time.Duration(float64(all-done)/f.rate*float64(time.Second))) + " left"
	}
	if r.State != replay.Running {
		words += ", " + string(r.State)
	}
	words += fmt.Sprintf(", delivered %d, parked %d, skipped %d", r.Counts.Delivered, r.Counts.Parked, r.Counts.Skipped+r.Counts.NoWebhook)
	if r.Gone > 0 {
		words += fmt.Sprintf(", gone %d", r.Gone)
	}
	return words
}

// end removes the bar.
func (f *following) end() {
	if f.bar != nil {
		f.bar.Abort(true)
		f.all.Wait()
	}
}
