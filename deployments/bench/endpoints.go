package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
)

// mostApart is by how much rates may differ where nothing should make a difference.
const mostApart = 0.1

// mostUsed is how many endpoints get events, where there are as many: more would measure
// hosts and connections.
const mostUsed = 100

// endpointsCommand shows that an endpoint to which nothing is sent costs the others
// nothing.
type endpointsCommand struct {
	Rounds     int    `default:"3" help:"How often each is measured; the figures are medians."`
	Events     int    `default:"100000" help:"Events that are delivered, to 100 of the endpoints at most."`
	Configured []int  `default:"1,100,10000,1000000" help:"So many endpoints."`
	Sync       string `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Profile    string `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	JSON       string `placeholder:"FILE" help:"Write the raw numbers."`
	Keep       bool   `help:"Keep the temporary folders, with every process' log."`
}

// sized is one turn, with so many of what should not matter.
type sized struct {
	Size int
	turn
}

// Run measures, and fails where what is asked is not so.
func (c *endpointsCommand) Run(ctx context.Context) error {
	return measured(ctx, c.Profile, c.JSON, c.rounds, c.text, func(all []sized) error { return apart(all, "endpoints") })
}

func (c *endpointsCommand) rounds(ctx context.Context, bin string) (all []sized, err error) {
	for range c.Rounds {
		for _, n := range c.Configured {
			t, err := c.turn(ctx, bin, n)
			if err != nil {
				return all, fmt.Errorf("%d endpoints: %w", n, err)
			}
			all = append(all, sized{n, t})
			fmt.Fprintln(os.Stderr, all[len(all)-1].brief("endpoints"))
		}
	}
	return all, nil
}

func (c *endpointsCommand) turn(ctx context.Context, bin string, n int) (t turn, err error) {
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, scenario{Name: "endpoints", Surveys: min(n, mostUsed), Backlog: true, Events: c.Events})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return t, err
	}
	if err := g.putIdle(ctx, n); err != nil {
		return t, err
	}
	return g.deliver(ctx)
}

// putIdle configures endpoints to which nothing is sent, until there are so many.
// Their secrets are never opened, so that one serves them all.
func (g *rig) putIdle(ctx context.Context, n int) error {
	e, err := g.endpoint(0)
	if err != nil {
		return err
	}
	return g.publishMany(ctx, n-g.s.Surveys, func(i int) (string, []byte, error) {
		i += g.s.Surveys
		e.URL = g.s.url(g.at.Hosts, i)
		value, err := e.Encode()
		return "$KV." + layout.Layout{}.Names.Endpoints() + "." + string(survey(i)), value, err
	})
}

// onTheWay is how many messages may be unconfirmed: what the server takes in at once.
const onTheWay = 4000

// publishMany publishes messages by the shortest way.
func (g *rig) publishMany(ctx context.Context, n int, message func(i int) (subject string, data []byte, err error)) error {
	if n <= 0 {
		return nil
	}
	refused := make(chan error, 1)
	js, err := jetstream.New(g.nc, jetstream.WithPublishAsyncMaxPending(onTheWay), jetstream.WithPublishAsyncErrHandler(
		func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case refused <- err:
			default:
			}
		}))
	if err != nil {
		return err
	}
	for i := range n {
		subject, data, err := message(i)
		if err == nil {
			_, err = js.PublishAsync(subject, data)
		}
		if err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-refused:
		return err
	default:
		return nil
	}
}

func (c *endpointsCommand) text(all []sized) string {
	return fmt.Sprintf("%s %d events of about 1 KB to %d of the endpoints at most; medians of %d rounds.\n\n%s",
		machine(c.Sync), c.Events, mostUsed, c.Rounds, sizedTable(all, "endpoints"))
}

func (s sized) brief(what string) string {
	return fmt.Sprintf("%9d %s: %6.0f/s, CPU µs an event: %.0f, NATS %.0f; RSS %.0f MiB, %d missing, %d duplicates", s.Size, what, s.Rate, s.CPU, s.NATSCPU, s.RSS, s.Missing, s.Duplicates)
}

func sizedTable(all []sized, what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | events/s | against the first | CPU µs an event | NATS | RSS MiB |\n|---|---|---|---|---|---|\n", what)
	for _, s := range medians(all) {
		fmt.Fprintf(&b, "| %d | %.0f | %.2f | %.1f | %.1f | %.0f |\n", s.Size, s.Rate, s.Rate/all[0].Rate, s.CPU, s.NATSCPU, s.RSS)
	}
	fmt.Fprintf(&b, "\n%s\n", met(apart(all, what)))
	return b.String()
}

// medians is one for each size, in the order in which they came first.
func medians(all []sized) (sums []sized) {
	var sizes []int
	by := map[int][]sized{}
	for _, s := range all {
		if by[s.Size] == nil {
			sizes = append(sizes, s.Size)
		}
		by[s.Size] = append(by[s.Size], s)
	}
	for _, size := range sizes {
		of := func(f func(s sized) float64) float64 { return median(by[size], f) }
		sum := sized{size, turn{
			Rate: of(func(s sized) float64 { return s.Rate }), CPU: of(func(s sized) float64 { return s.CPU }),
			NATSCPU: of(func(s sized) float64 { return s.NATSCPU }), RSS: of(func(s sized) float64 { return s.RSS }),
		}}
		for _, s := range by[size] {
			sum.Missing, sum.Duplicates = sum.Missing+s.Missing, sum.Duplicates+s.Duplicates
		}
		sums = append(sums, sum)
	}
	return sums
}

// apart is an error where sizes differ in rate by more than is allowed, or events
// are missing.
func apart(all []sized, what string) error {
	var errs []error
	sums := medians(all)
	slowest, fastest := sums[0], sums[0]
	for _, s := range sums {
		if s.Missing > 0 {
			errs = append(errs, fmt.Errorf("%d %s: %d events missing", s.Size, what, s.Missing))
		}
		if s.Rate < slowest.Rate {
			slowest = s
		}
		if s.Rate > fastest.Rate {
			fastest = s
		}
	}
	if share := slowest.Rate / fastest.Rate; share < 1-mostApart {
		errs = append(errs, fmt.Errorf("%d %s: %.2f of the rate with %d, at least %.2f is asked", slowest.Size, what, share, fastest.Size, 1-mostApart))
	}
	return errors.Join(errs...)
}
