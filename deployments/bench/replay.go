package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// What is asked of a replay.
const (
	leastReplay = 0.8 // of the live path's rate, when nothing limits it
	mostBeside  = 1.5 // times the quiet p99, live events beside a replay at the default rate
)

// replayCommand shows what a replay does, and what it costs live events.
type replayCommand struct {
	Events   int           `default:"1000000" help:"Stored events that are replayed as fast as it goes; 0 leaves that out."`
	Surveys  int           `default:"1000" help:"Whose they are."`
	Warm     time.Duration `default:"15s" help:"Live events that do not count; the replay beside them sends these again."`
	Measure  time.Duration `default:"30s" help:"Live events that count, with and without a replay beside them."`
	Rate     int           `default:"5000" help:"Live events a second."`
	Replayed float64       `help:"Events a second of the replay beside them (default: the service's)."`
	Rounds   int           `default:"3" help:"How often live events are measured; the figures are medians."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Keep     bool          `help:"Keep the temporary folders, with every process' log."`
}

// replayReport is what was found. Rates are events a second, times milliseconds.
type replayReport struct {
	Events  int
	Live    float64       // the rate at which a backlog was delivered live
	Again   float64       // at which the same events were replayed
	Counts  replay.Counts // of that replay
	Missing int           // events that did not come again
	Unknown uint64        // events of which no replica said what became of them
	RSS     float64       // of the service, at most, in MiB
	Beside  []besideRound
}

// besideRound is one round of live events without a replay, and with one.
type besideRound struct {
	Quiet, With   tally
	Sent          uint64 // events that were replayed meanwhile
	QuietCPU      cpu    // while they were counted
	WithCPU       cpu
	QuietP, WithP publication
}

// cpu is how many CPUs were busy.
type cpu struct{ Service, NATS, Machine float64 }

// String is how it stands in the table.
func (u cpu) String() string { return fmt.Sprintf("%.2f, %.2f, %.2f", u.Service, u.NATS, u.Machine) }

// busy begins to measure CPUs; what it returns says how many were busy since.
func (g *rig) busy() (func() (cpu, error), error) {
	began := time.Now()
	before, err := g.usages()
	if err != nil {
		return nil, err
	}
	all, err := process.MachineBusy()
	if err != nil {
		return nil, err
	}
	return func() (cpu, error) {
		now, err := g.usages()
		if err != nil {
			return cpu{}, err
		}
		allNow, err := process.MachineBusy()
		took := time.Since(began).Seconds()
		return cpu{(now[0].CPU - before[0].CPU).Seconds() / took, (now[1].CPU - before[1].CPU).Seconds() / took, (allNow - all).Seconds() / took}, err
	}, nil
}

// Run measures, and fails where what is asked is not so.
func (c *replayCommand) Run(ctx context.Context) error {
	bin, err := programs(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	r, err := c.report(ctx, bin)
	if err != nil {
		return err
	}
	fmt.Print(c.text(r))
	return errors.Join(writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }), r.verdict())
}

func (c *replayCommand) report(ctx context.Context, bin string) (r replayReport, err error) {
	c.Replayed = cmp.Or(c.Replayed, replay.DefaultRate)
	if c.Events > 0 {
		if r, err = c.again(ctx, bin); err != nil {
			return r, fmt.Errorf("replay as fast as it goes: %w", err)
		}
	}
	for range c.Rounds {
		var b besideRound
		if b.QuietP, b.Quiet, b.QuietCPU, _, err = c.live(ctx, bin, 0); err != nil {
			return r, fmt.Errorf("live events alone: %w", err)
		}
		if b.WithP, b.With, b.WithCPU, b.Sent, err = c.live(ctx, bin, c.Replayed); err != nil {
			return r, fmt.Errorf("live events beside a replay: %w", err)
		}
		r.Beside = append(r.Beside, b)
	}
	return r, nil
}

func (c *replayCommand) setup(bin string) setup { return setup{bin, c.Sync, c.Keep} }

// again delivers a backlog live, and then replays it.
func (c *replayCommand) again(ctx context.Context, bin string) (r replayReport, err error) {
	g, err := openRig(ctx, c.setup(bin), scenario{Name: "replay", Surveys: c.Surveys, Backlog: true, Events: c.Events})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	r.Events = c.Events
	if err := g.prepareService(ctx); err != nil {
		return r, err
	}
	if _, err := g.publish(ctx, func() error { return nil }); err != nil {
		return r, err
	}
	if err := g.startService(ctx); err != nil {
		return r, err
	}
	if err := g.arrived(ctx, c.Events); err != nil {
		return r, err
	}
	first, err := g.arrivals(ctx)
	if err != nil {
		return r, err
	}
	r.Live = float64(first.Healthy) / (first.Last - first.First) * 1000
	if err := g.settled(ctx); err != nil {
		return r, err
	}
	job, err := g.replayAll(ctx, 0)
	if err != nil {
		return r, err
	}
	if job, err = g.replayEnded(ctx, job.ID); err != nil {
		return r, err
	}
	r.Again, r.Counts, r.Unknown = float64(c.Events)/job.Since.Sub(job.At).Seconds(), job.Counts, job.Uncounted()
	second, err := g.arrivals(ctx)
	if err != nil {
		return r, err
	}
	r.Missing = c.Events - second.Replayed
	used, err := g.consumer.Usage()
	r.RSS = float64(used.HWM) / (1 << 20)
	return r, err
}

// live measures live events, beside a replay of those of the warm-up when a rate is
// given.
func (c *replayCommand) live(ctx context.Context, bin string, perSecond float64) (p publication, t tally, u cpu, sent uint64, err error) {
	g, err := openRig(ctx, c.setup(bin), scenario{Name: "live", Surveys: c.Surveys, Rate: c.Rate, Warm: c.Warm, Measure: c.Measure})
	if err != nil {
		return p, t, u, 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := errors.Join(g.prepareService(ctx), g.startService(ctx)); err != nil {
		return p, t, u, 0, err
	}
	id := ""
	var used func() (cpu, error)
	p, err = g.publish(ctx, func() (err error) {
		if used, err = g.busy(); err != nil || perSecond == 0 {
			return err
		}
		job, err := g.replayAll(ctx, perSecond)
		id = job.ID
		return err
	})
	if err != nil {
		return p, t, u, 0, err
	}
	if u, err = used(); err != nil {
		return p, t, u, 0, err
	}
	if id != "" {
		job, err := replay.Look(ctx, g.js, layout.Layout{}.Names, id)
		if err != nil {
			return p, t, u, 0, err
		}
		sent = job.Counts.Sum()
	}
	if err := g.arrived(ctx, p.Healthy); err != nil {
		return p, t, u, sent, err
	}
	t, err = g.arrivals(ctx)
	return p, t, u, sent, err
}

// arrived waits until so many events have come.
func (g *rig) arrived(ctx context.Context, n int) error {
	last, changed := int64(-1), time.Now()
	for {
		got, err := g.count(ctx)
		switch {
		case err != nil:
			return err
		case got.Healthy >= int64(n):
			return nil
		case got.Healthy != last:
			last, changed = got.Healthy, time.Now()
		case time.Since(changed) > 30*time.Second:
			return fmt.Errorf("%d of %d events came, and then none for 30 s: %s", last, n, g.consumer.LastWords())
		}
		if err := process.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// settled waits until the live consumer has heard of everything's end.
func (g *rig) settled(ctx context.Context) error {
	return process.Until(ctx, time.Minute, func() error {
		live, err := g.js.Consumer(ctx, eventStream, layout.Layout{}.Names.Consumer())
		if err != nil {
			return err
		}
		if i := live.CachedInfo(); i.NumPending > 0 || i.NumAckPending > 0 {
			return fmt.Errorf("%d events are not settled", i.NumPending+uint64(i.NumAckPending))
		}
		return nil
	})
}

// replayAll starts a replay of all that is settled.
func (g *rig) replayAll(ctx context.Context, perSecond float64) (replay.Record, error) {
	names := layout.Layout{}.Names
	stream, err := g.js.Stream(ctx, names.Stream())
	if err != nil {
		return replay.Record{}, err
	}
	live, err := stream.Consumer(ctx, names.Consumer())
	if err != nil {
		return replay.Record{}, err
	}
	now, info := time.Now().UTC(), stream.CachedInfo()
	r := replay.Record{
		ID: replay.NewID(), At: now, Reason: "benchmark", StreamCreated: info.Created, Start: info.State.FirstSeq, End: live.CachedInfo().AckFloor.Stream,
		Rate: perSecond, State: replay.Running, Since: now,
	}
	if r.Events, err = replay.Count(ctx, g.js, names, nil, r.Start, r.End); err != nil {
		return r, err
	}
	return r, replay.Create(ctx, g.js, names, r)
}

// replayEnded waits until a replay has ended, and its replicas have said what became of
// its events.
func (g *rig) replayEnded(ctx context.Context, id string) (r replay.Record, err error) {
	for changed, sum := time.Now(), uint64(0); ; {
		if r, err = replay.Look(ctx, g.js, layout.Layout{}.Names, id); err != nil || r.State.Ended() && (r.Uncounted() == 0 || !r.Reporting(time.Now())) {
			return r, err
		}
		if n := r.Counts.Sum(); n != sum {
			sum, changed = n, time.Now()
		}
		if time.Since(changed) > time.Minute {
			return r, fmt.Errorf("the replay stands still: %+v: %s", r, g.consumer.LastWords())
		}
		if err := process.Sleep(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// ratio is the live p99 beside a replay, in quiet ones: the median.
func (r replayReport) ratio() float64 {
	return median(r.Beside, func(b besideRound) float64 { return b.With.P99 / b.Quiet.P99 })
}

// text is the result for people.
func (c *replayCommand) text(r replayReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d CPUs, %s; everything on this one machine. NATS sync_interval %s, file store, R1. Events of about 1 KB of %d surveys.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), c.Sync, c.Surveys)
	if r.Events > 0 {
		fmt.Fprintf(&b, "| %d stored events | events/s | against live |\n|---|---|---|\n", r.Events)
		fmt.Fprintf(&b, "| delivered live | %.0f | – |\n| replayed as fast as it goes | %.0f | %.2f |\n\n", r.Live, r.Again, r.Again/r.Live)
		fmt.Fprintf(&b, "The service took %.0f MiB of memory at most.\n\n", r.RSS)
	}
	fmt.Fprintf(&b, "| %d live events/s for %s | round | p50 ms | p99 ms | max ms | p99 against quiet | replayed meanwhile | CPUs: service, NATS, all |\n|---|---|---|---|---|---|---|---|\n", c.Rate, c.Measure)
	for i, round := range r.Beside {
		fmt.Fprintf(&b, "| alone | %d | %.2f | %.2f | %.0f | – | – | %s |\n", i+1, round.Quiet.P50, round.Quiet.P99, round.Quiet.Max, round.QuietCPU)
		fmt.Fprintf(&b, "| beside a replay at %.0f/s | %d | %.2f | %.2f | %.0f | %.2f | %d | %s |\n", c.Replayed, i+1,
			round.With.P50, round.With.P99, round.With.Max, round.With.P99/round.Quiet.P99, round.Sent, round.WithCPU)
	}
	return b.String()
}

// verdict is an error that lists what was asked and is not so.
func (r replayReport) verdict() error {
	var errs []error
	if r.Missing > 0 {
		errs = append(errs, fmt.Errorf("%d events did not come again", r.Missing))
	}
	if r.Counts.Delivered != uint64(r.Events) || r.Unknown > 0 { //nolint:gosec // never negative
		errs = append(errs, fmt.Errorf("of %d events the replay says %+v, and nothing of %d", r.Events, r.Counts, r.Unknown))
	}
	if share := r.Again / r.Live; r.Events > 0 && share < leastReplay {
		errs = append(errs, fmt.Errorf("replayed at %.2f of the live rate, at least %.2f is asked", share, leastReplay))
	}
	if ratio := r.ratio(); ratio > mostBeside {
		errs = append(errs, fmt.Errorf("live p99 %.2f × quiet beside a replay, at most %.2f is allowed", ratio, mostBeside))
	}
	return errors.Join(errs...)
}
