package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// replicasCommand shows that twice as many replicas deliver twice as much. What
// bounds each is how many attempts it may have under way, never the machine.
type replicasCommand struct {
	Replicas []int         `default:"1,2,4" help:"So many replicas, each time on a NATS of their own."`
	InFlight int           `default:"16" help:"Attempts that a replica may have under way; more, and the machine is what is measured."`
	Latency  time.Duration `default:"50ms" help:"What an endpoint takes to answer."`
	Lasts    time.Duration `default:"15s" help:"The backlog is as large as the replicas could deliver in that time."`
	Load     float64       `default:"0.7" help:"Where latency is measured, events come at this share of what the replicas could deliver."`
	Warm     time.Duration `default:"2s" help:"Not counted, of the paced run."`
	Measure  time.Duration `default:"8s" help:"Counted, of the paced run."`
	Grace    time.Duration `default:"10s" help:"What is still missing so long after the last event is missing."`
	Surveys  int           `default:"1000" help:"Surveys, on 100 hosts: so many that no endpoint's own budget is a bound."`
	Rounds   int           `default:"3" help:"How often each is measured; the figures are medians."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Profile  string        `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	Keep     bool          `help:"Keep the temporary folders, with every process' log."`
}

// leastDoubling is what twice as many replicas must deliver at least, of twice as
// much.
const leastDoubling = 0.9

// fleetFigures is one turn of so many replicas. CPU is in microseconds an event, of
// all replicas together; latency in milliseconds from publication to arrival.
type fleetFigures struct {
	Replicas, Round           int
	Rate                      float64 // events a second of the backlog
	CPU, NATSCPU, ReceiverCPU float64
	Machine                   float64   // CPUs of the machine in use while the backlog was delivered, whoever used them
	Shares                    []float64 // of the backlog, by replica
	P50, P99                  float64   // of the paced run
	Missing, Duplicates       int
	Aside                     int // events that did not end with a 2xx at the live consumer: an endpoint's budget was a bound after all
}

// Run measures, and fails where what is asked is not so.
func (c *replicasCommand) Run(ctx context.Context) error {
	return measured(ctx, c.Profile, c.JSON, c.rounds, c.text, func(all []fleetFigures) error { return unmet(fleetAsked(all)) })
}

func (c *replicasCommand) rounds(ctx context.Context, bin string) (all []fleetFigures, err error) {
	for round := range c.Rounds {
		for _, n := range c.Replicas {
			f := fleetFigures{Replicas: n, Round: round}
			for _, s := range c.scenarios(n) {
				if err := c.turn(ctx, bin, s, &f); err != nil {
					return all, fmt.Errorf("%d replicas, %s: %w", n, s.Name, err)
				}
			}
			fmt.Fprintln(os.Stderr, f.brief())
			all = append(all, f)
		}
	}
	return all, nil
}

// most is what n replicas could deliver a second, if nothing but their attempts
// under way were a bound.
func (c *replicasCommand) most(n int) float64 {
	return float64(n*c.InFlight) / c.Latency.Seconds()
}

func (c *replicasCommand) scenarios(n int) []scenario {
	return []scenario{
		{Name: "backlog", Surveys: c.Surveys, Latency: c.Latency, Backlog: true, Events: int(c.most(n) * c.Lasts.Seconds())},
		{Name: "paced", Surveys: c.Surveys, Latency: c.Latency, Rate: int(c.most(n) * c.Load), Warm: c.Warm, Measure: c.Measure},
	}
}

// turn runs one scenario on a rig of its own. All replicas are ready before the first
// event is published: those that start first would else begin alone.
func (c *replicasCommand) turn(ctx context.Context, bin string, s scenario, f *fleetFigures) (err error) {
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return err
	}
	if err := g.startReplicas(ctx, f.Replicas, "--max-in-flight", fmt.Sprint(c.InFlight)); err != nil {
		return err
	}
	before, err := g.spent()
	if err != nil {
		return err
	}
	r := run{g: g, grace: c.Grace, o: outcome{Scenario: s.Name, Consumer: "service"}}
	if r.o.Publication, err = g.publish(ctx, func() error { r.began = time.Now(); return nil }); err != nil {
		return err
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	after, err := g.spent()
	if err != nil {
		return err
	}
	f.Missing, f.Duplicates = f.Missing+r.o.Publication.Healthy-r.o.Arrivals.Healthy, f.Duplicates+r.o.Arrivals.Duplicates
	aside, shares, err := g.sharesOf(ctx)
	f.Aside += aside
	if !s.Backlog {
		f.P50, f.P99 = r.o.Arrivals.P50, r.o.Arrivals.P99
		return err
	}
	f.Shares, f.Rate, f.Machine = shares, r.o.rate(), (after.machine-before.machine).Seconds()/after.at.Sub(before.at).Seconds()
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(s.Events) }
	f.CPU, f.NATSCPU, f.ReceiverCPU = each(after.service-before.service), each(after.nats-before.nats), each(after.receiver-before.receiver)
	return err
}

// startReplicas starts so many replicas and waits until all of them are ready.
func (g *rig) startReplicas(ctx context.Context, n int, more ...string) error {
	for i := range n {
		r, err := g.startReplica(ctx, fmt.Sprint("webhooks-", i), more...)
		if r.Process != nil {
			g.replicas = append(g.replicas, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spent is the CPU time used until a moment.
type spent struct {
	at                               time.Time
	service, nats, receiver, machine time.Duration
}

func (g *rig) spent() (s spent, err error) {
	s.at = time.Now()
	for _, r := range g.replicas {
		u, err := r.Usage()
		if err != nil {
			return s, err
		}
		s.service += u.CPU
	}
	server, err1 := g.nats.Usage()
	receiver, err2 := g.receiver.Usage()
	machine, err3 := process.MachineBusy()
	s.nats, s.receiver, s.machine = server.CPU, receiver.CPU, machine
	return s, errors.Join(err1, err2, err3)
}

// sharesOf asks each replica how many events it has delivered, and how many the live
// consumer has let go otherwise. The last answers may be on their way still: shares
// are told to a hundredth.
func (g *rig) sharesOf(ctx context.Context) (aside int, shares []float64, err error) {
	const outcomes = `webhooks_events_total{outcome="`
	var total float64
	for _, r := range g.replicas {
		m, err := metricsAt(ctx, r.admin)
		if err != nil {
			return 0, nil, err
		}
		delivered := m[outcomes+`delivered"}`]
		shares, total = append(shares, delivered), total+delivered
		for name, n := range m {
			if strings.HasPrefix(name, outcomes) && name != outcomes+`delivered"}` {
				aside += int(n)
			}
		}
	}
	for i := range shares {
		shares[i] /= max(total, 1)
	}
	return aside, shares, nil
}

func (f fleetFigures) brief() string {
	return fmt.Sprintf("%d replicas, round %d: %.0f/s, CPU µs an event: %.0f, NATS %.0f, receiver %.0f; machine %.2f CPUs; p50 %.2f ms, p99 %.2f ms; shares %s; %d missing, %d duplicates, %d aside",
		f.Replicas, f.Round+1, f.Rate, f.CPU, f.NATSCPU, f.ReceiverCPU, f.Machine, f.P50, f.P99, percents(f.Shares), f.Missing, f.Duplicates, f.Aside)
}

// percents is shares, ascending.
func percents(shares []float64) string {
	var words []string
	for _, s := range slices.Sorted(slices.Values(shares)) {
		words = append(words, fmt.Sprintf("%.0f", 100*s))
	}
	return strings.Join(words, ":")
}

// fleetMedians is one for each number of replicas, in the order in which they came
// first. Shares are the least even ones of any round.
func fleetMedians(all []fleetFigures) (sums []fleetFigures) {
	by := map[int][]fleetFigures{}
	var sizes []int
	for _, f := range all {
		if by[f.Replicas] == nil {
			sizes = append(sizes, f.Replicas)
		}
		by[f.Replicas] = append(by[f.Replicas], f)
	}
	for _, n := range sizes {
		of := func(figure func(f fleetFigures) float64) float64 { return median(by[n], figure) }
		sum := fleetFigures{
			Replicas: n, Rate: of(func(f fleetFigures) float64 { return f.Rate }), Machine: of(func(f fleetFigures) float64 { return f.Machine }),
			CPU: of(func(f fleetFigures) float64 { return f.CPU }), NATSCPU: of(func(f fleetFigures) float64 { return f.NATSCPU }),
			ReceiverCPU: of(func(f fleetFigures) float64 { return f.ReceiverCPU }),
			P50:         of(func(f fleetFigures) float64 { return f.P50 }), P99: of(func(f fleetFigures) float64 { return f.P99 }),
		}
		for _, f := range by[n] {
			sum.Missing, sum.Duplicates, sum.Aside = sum.Missing+f.Missing, sum.Duplicates+f.Duplicates, sum.Aside+f.Aside
			if sum.Shares == nil || slices.Min(f.Shares) < slices.Min(sum.Shares) {
				sum.Shares = f.Shares
			}
		}
		sums = append(sums, sum)
	}
	return sums
}

// fleetAsked is what is asked: events a second grow as replicas do, from each size to
// the next, and every event comes once.
func fleetAsked(all []fleetFigures) (list []asked) {
	sums := fleetMedians(all)
	var missing, duplicates, aside int
	for i, f := range sums {
		missing, duplicates, aside = missing+f.Missing, duplicates+f.Duplicates, aside+f.Aside
		if i > 0 {
			list = append(list, atLeast(fmt.Sprintf("events/s of %d replicas, of %d/%d of those of %d", f.Replicas, f.Replicas, sums[i-1].Replicas, sums[i-1].Replicas),
				f.Rate/sums[i-1].Rate*float64(sums[i-1].Replicas)/float64(f.Replicas), leastDoubling))
		}
	}
	return append(list, atMost("events missing", float64(missing), 0), atMost("duplicates", float64(duplicates), 0),
		atMost("events that went another way than from the live consumer to a 2xx", float64(aside), 0))
}

func (c *replicasCommand) text(all []fleetFigures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d attempts under way a replica, endpoints take %s: at most %.0f/s a replica. %d surveys on %d hosts, a backlog of %s; latency at %.0f %% of that, %s measured; medians of %d rounds.\n\n",
		machine(c.Sync), c.InFlight, c.Latency, c.most(1), c.Surveys, healthyHosts, c.Lasts, 100*c.Load, c.Measure, c.Rounds)
	b.WriteString("| replicas | events/s | of the most | each replica's share in % | CPU µs an event | NATS | receiver | CPUs of the machine | p50 ms | p99 ms | missing, duplicates |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range fleetMedians(all) {
		fmt.Fprintf(&b, "| %d | %.0f | %.2f | %s | %.0f | %.0f | %.0f | %.2f | %.2f | %.2f | %d, %d |\n",
			f.Replicas, f.Rate, f.Rate/c.most(f.Replicas), percents(f.Shares), f.CPU, f.NATSCPU, f.ReceiverCPU, f.Machine, f.P50, f.P99, f.Missing, f.Duplicates)
	}
	return b.String() + "\n" + verdicts(fleetAsked(all))
}
