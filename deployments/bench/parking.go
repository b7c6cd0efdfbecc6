package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// What is asked of parking and of lanes that drain, where NATS does not sync every
// write: with that the disk decides.
const (
	leastParked  = 0.5 // of the rate at which the same events are delivered live
	leastDrained = 0.5
)

// parkingCommand measures the way into the lanes, and out of them.
type parkingCommand struct {
	Rounds  int      `default:"3" help:"How often each is measured; the figures are medians."`
	Events  int      `default:"100000" help:"Events that are delivered live, and as many that are parked and drained."`
	Lanes   int      `default:"64" help:"Surveys, each with an endpoint on a host of its own, and a lane when that fails."`
	Sync    []string `default:"2m,always" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Profile string   `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	JSON    string   `placeholder:"FILE" help:"Write the raw numbers."`
	Keep    bool     `help:"Keep the temporary folders, with every process' log."`
}

// parkingRound is one round. Rates are events a second, CPU microseconds an event.
type parkingRound struct {
	Sync string
	Live turn

	Parked                   float64 // from the first copy that NATS stored to the last, by its clock
	ParkingCPU, ParkingNATS  float64
	Drained                  float64 // from the first arrival to the last
	Emptied                  float64 // until nothing stood in the lanes any more
	DrainingCPU, DrainedNATS float64
	Missing, Duplicates      int // of those parked
	Said                     map[string]int
}

func (r parkingRound) parked() float64  { return r.Parked / r.Live.Rate }
func (r parkingRound) drained() float64 { return r.Drained / r.Live.Rate }

// Run measures, and fails where what is asked is not so.
func (c *parkingCommand) Run(ctx context.Context) error {
	return measured(ctx, c.Profile, c.JSON, c.rounds, c.text, c.verdict)
}

func (c *parkingCommand) rounds(ctx context.Context, bin string) (all []parkingRound, err error) {
	for range c.Rounds {
		for _, sync := range c.Sync {
			r := parkingRound{Sync: sync}
			if err := c.live(ctx, setup{bin, sync, c.Keep}, &r); err != nil {
				return all, fmt.Errorf("live: %w", err)
			}
			if err := c.failing(ctx, setup{bin, sync, c.Keep}, &r); err != nil {
				return all, fmt.Errorf("parking: %w", err)
			}
			fmt.Fprintf(os.Stderr, "sync %-6s live %6.0f/s, parked %6.0f/s (CPU µs an event: %.0f, NATS %.0f), drained %6.0f/s (%.0f, NATS %.0f), lanes empty at %6.0f/s, %d missing, %d duplicates%s\n",
				sync, r.Live.Rate, r.Parked, r.ParkingCPU, r.ParkingNATS, r.Drained, r.DrainingCPU, r.DrainedNATS, r.Emptied, r.Missing, r.Duplicates, complaints(r.Said))
			all = append(all, r)
		}
	}
	return all, nil
}

// live is what the others are compared with.
func (c *parkingCommand) live(ctx context.Context, o setup, r *parkingRound) (err error) {
	g, err := openRig(ctx, o, scenario{Name: "live", Surveys: c.Lanes, Backlog: true, Events: c.Events})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return err
	}
	r.Live, err = g.deliver(ctx)
	return err
}

// failing parks as many events of endpoints that are known to fail, and then mends
// the endpoints.
func (c *parkingCommand) failing(ctx context.Context, o setup, r *parkingRound) (err error) {
	g, err := openRig(ctx, o, scenario{Name: "parking", Surveys: c.Lanes, Failing: c.Lanes, Backlog: true, Events: c.Events})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return err
	}
	if err := g.knownToFail(ctx); err != nil {
		return err
	}
	if _, err := g.publish(ctx, func() error { return nil }); err != nil {
		return err
	}
	if err := g.park(ctx, r); err != nil {
		return err
	}
	if err := g.drain(ctx, r); err != nil {
		return err
	}
	r.Said, err = g.consumer.Complaints()
	return err
}

// knownToFail writes down of every failing endpoint that it fails, and is not probed
// for an hour: nothing is sent to it meanwhile.
func (g *rig) knownToFail(ctx context.Context) error {
	board, err := health.Open(ctx, g.js, layout.Layout{}.Names, health.Options{})
	if err != nil {
		return err
	}
	defer board.Close()
	now := time.Now().UTC()
	return inParallel(writers, g.s.Failing, func(i int) error {
		return board.Failed(ctx, survey(i), health.Failure{At: now, Reason: "500", NextProbe: now.Add(time.Hour), Waiting: 1})
	})
}

// park has the service park everything. Nothing is removed meanwhile, so the lanes
// stream says itself when the first copy came and when the last.
func (g *rig) park(ctx context.Context, r *parkingRound) error {
	if err := g.startService(ctx); err != nil {
		return err
	}
	used, err := g.meter()
	if err != nil {
		return err
	}
	state, err := g.lanesHold(ctx, g.s.Events)
	if err != nil {
		return err
	}
	if r.ParkingCPU, r.ParkingNATS, err = used(g.s.Events); err != nil {
		return err
	}
	r.Parked = float64(g.s.Events) / state.LastTime.Sub(state.FirstTime).Seconds()
	return g.settled(ctx)
}

// drain mends every endpoint; that its owner changes it has it probed at once.
func (g *rig) drain(ctx context.Context, r *parkingRound) error {
	if err := inParallel(writers, g.s.Failing, func(i int) error { return g.mend(ctx, i) }); err != nil {
		return err
	}
	used, err := g.meter()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := g.putEndpoints(ctx); err != nil {
		return err
	}
	if _, err := g.lanesHold(ctx, 0); err != nil {
		return err
	}
	r.Emptied = float64(g.s.Events) / time.Since(began).Seconds()
	if r.DrainingCPU, r.DrainedNATS, err = used(g.s.Events); err != nil {
		return err
	}
	t, err := g.arrivals(ctx)
	if err != nil {
		return err
	}
	first, last, n := time.Now(), time.Time{}, 0
	for _, m := range t.Mended {
		n += m.Times
		if m.First.Before(first) {
			first = m.First
		}
		if m.Last.After(last) {
			last = m.Last
		}
	}
	r.Drained = float64(n) / last.Sub(first).Seconds()
	r.Missing, r.Duplicates = max(g.s.Events-n, 0), max(n-g.s.Events, 0)
	return nil
}

// lanesHold waits until so many events stand in the lanes.
func (g *rig) lanesHold(ctx context.Context, n int) (jetstream.StreamState, error) {
	stream, err := g.js.Stream(ctx, layout.Layout{}.Names.Lanes())
	if err != nil {
		return jetstream.StreamState{}, err
	}
	for last, changed := uint64(0), time.Now(); ; {
		info, err := stream.Info(ctx)
		if err != nil || info.State.Msgs == uint64(n) { //nolint:gosec // never negative
			return info.State, err
		}
		if info.State.Msgs != last {
			last, changed = info.State.Msgs, time.Now()
		}
		if time.Since(changed) > time.Minute {
			return info.State, fmt.Errorf("the lanes hold %d events, not %d, and that stands still: %s", last, n, g.consumer.LastWords())
		}
		if err := process.Sleep(ctx, 50*time.Millisecond); err != nil {
			return info.State, err
		}
	}
}

// text is the result for people.
func (c *parkingCommand) text(all []parkingRound) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d events of about 1 KB over %d endpoints, delivered live; parked while all fail; delivered when all are mended; medians of %d rounds.\n\n",
		machine(strings.Join(c.Sync, " or ")), c.Events, c.Lanes, c.Rounds)
	b.WriteString("| sync_interval | | events/s | against live | CPU µs an event | NATS |\n|---|---|---|---|---|---|\n")
	for _, sync := range c.Sync {
		mine := ofSync(all, sync)
		of := func(f func(r parkingRound) float64) float64 { return median(mine, f) }
		fmt.Fprintf(&b, "| %s | live | %.0f | – | %.0f | %.0f |\n", sync, of(func(r parkingRound) float64 { return r.Live.Rate }),
			of(func(r parkingRound) float64 { return r.Live.CPU }), of(func(r parkingRound) float64 { return r.Live.NATSCPU }))
		fmt.Fprintf(&b, "| %s | parked | %.0f | %.2f | %.0f | %.0f |\n", sync, of(func(r parkingRound) float64 { return r.Parked }), of(parkingRound.parked),
			of(func(r parkingRound) float64 { return r.ParkingCPU }), of(func(r parkingRound) float64 { return r.ParkingNATS }))
		fmt.Fprintf(&b, "| %s | drained | %.0f | %.2f | %.0f | %.0f |\n", sync, of(func(r parkingRound) float64 { return r.Drained }), of(parkingRound.drained),
			of(func(r parkingRound) float64 { return r.DrainingCPU }), of(func(r parkingRound) float64 { return r.DrainedNATS }))
		fmt.Fprintf(&b, "| %s | lanes empty | %.0f | %.2f | | |\n", sync, of(func(r parkingRound) float64 { return r.Emptied }),
			of(func(r parkingRound) float64 { return r.Emptied / r.Live.Rate }))
	}
	fmt.Fprintf(&b, "\n%s\n", met(c.verdict(all)))
	return b.String()
}

func ofSync(all []parkingRound, sync string) (mine []parkingRound) {
	for _, r := range all {
		if r.Sync == sync {
			mine = append(mine, r)
		}
	}
	return mine
}

// verdict is an error that lists what was asked and is not so.
func (c *parkingCommand) verdict(all []parkingRound) error {
	var errs []error
	for _, r := range all {
		if r.Missing > 0 || r.Live.Missing > 0 {
			errs = append(errs, fmt.Errorf("sync %s: %d parked events were not delivered, %d live ones", r.Sync, r.Missing, r.Live.Missing))
		}
	}
	quick := ofSync(all, "2m")
	if len(quick) == 0 {
		return errors.Join(errs...)
	}
	if share := median(quick, parkingRound.parked); share < leastParked {
		errs = append(errs, fmt.Errorf("parked at %.2f of the live rate, at least %.2f is asked", share, leastParked))
	}
	if share := median(quick, parkingRound.drained); share < leastDrained {
		errs = append(errs, fmt.Errorf("drained at %.2f of the live rate, at least %.2f is asked", share, leastDrained))
	}
	return errors.Join(errs...)
}
