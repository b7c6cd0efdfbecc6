package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// always is the sync mode in which NATS syncs every write.
const always = "always"

// isolationCommand fills the isolation table.
type isolationCommand struct {
	Warm     time.Duration `default:"10s" help:"Not counted; the failing endpoints are found out in it."`
	Measure  time.Duration `default:"30s" help:"Counted."`
	Grace    time.Duration `default:"5s" help:"What is still missing so long after the last event is missing."`
	Rounds   int           `default:"3" help:"How often each scenario runs, behind a quiet one."`
	Rate     int           `default:"5000" help:"Events a second."`
	Backlog  int           `default:"600000" help:"Events of the backlog."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Only     []string      `placeholder:"NAME,..." help:"Only these scenarios."`
	Plain    bool          `default:"true" negatable:"" help:"Run the plain consumer beside."`
	Markdown string        `placeholder:"FILE" help:"Write the table as Markdown."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Keep     bool          `help:"Keep the temporary folders, with every process' log."`
}

// outcome is one run of one scenario. Durations are in milliseconds, memory in
// MiB.
type outcome struct {
	Scenario    string
	Consumer    string // "service" or "plain"
	Round       int
	Publication publication
	Arrivals    tally
	Window      int // requests to failing endpoints while events counted
	Parked      parked
	Cores       float64 // the consumer's CPU seconds a second
	NATS        float64 // the server's
	Machine     float64 // everything's on the machine: where it comes near the number of CPUs, latencies say nothing
	RSS         float64 // the consumer's
	Lag         float64 // most events that no replica had been given, while events counted
	Metrics     map[string]float64
	Said        map[string]int // warnings and errors in the service's log
}

// Run runs the scenarios and prints the table.
func (c *isolationCommand) Run(ctx context.Context) error {
	bin, err := programs(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	all, err := c.outcomes(ctx, bin)
	if err != nil {
		return err
	}
	rows := c.rows(all)
	printTable(os.Stdout, c.head(), rows)
	return errors.Join(writeFile(c.Markdown, func() ([]byte, error) { return markdown(c.head(), rows), nil }),
		writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(all, "", "  ") }), verdictOf(rows))
}

func writeFile(path string, content func() ([]byte, error)) error {
	if path == "" {
		return nil
	}
	b, err := content()
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644) //nolint:gosec // it is to be read
}

func (c *isolationCommand) chosen() []scenario {
	var chosen []scenario
	for _, s := range scenarios() {
		if len(c.Only) > 0 && !slices.Contains(c.Only, s.Name) {
			continue
		}
		s.Rate, s.Warm, s.Measure = c.Rate, c.Warm, c.Measure
		if s.Backlog {
			s.Events, s.Stretch = c.Backlog, c.Backlog/stretches
		}
		chosen = append(chosen, s)
	}
	return chosen
}

// setting is a scenario and the consumer that meets it.
type setting struct {
	scenario scenario
	consumer string
}

// outcomes runs every round: a quiet one and the scenario, so that both meet the
// machine in the same mood; what a backlog is compared with is in it. The plain consumer
// runs in the first.
func (c *isolationCommand) outcomes(ctx context.Context, bin string) (all []outcome, err error) {
	for round := range c.Rounds {
		for _, s := range c.chosen() {
			settings := []setting{{s.quiet(), "service"}}
			if !s.isQuiet() {
				settings = append(settings, setting{s, "service"})
			}
			if c.Plain && round == 0 {
				settings = append(settings, setting{s, "plain"})
			}
			for _, one := range settings {
				o, err := c.one(ctx, bin, one.scenario, one.consumer, round)
				if err != nil {
					return all, err
				}
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// one runs one scenario with one consumer.
func (c *isolationCommand) one(ctx context.Context, bin string, s scenario, consumer string, round int) (o outcome, err error) {
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, s)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	r := run{g: g, grace: c.Grace, o: outcome{Scenario: s.Name, Consumer: consumer, Round: round}}
	if err := r.run(ctx); err != nil {
		return o, fmt.Errorf("%s with %s: %w", s.Name, consumer, err)
	}
	fmt.Fprintln(os.Stderr, r.o.brief())
	return r.o, nil
}

// run is one run on its rig.
type run struct {
	g     *rig
	grace time.Duration
	o     outcome
	began time.Time        // when events began to count
	first [2]process.Usage // of the consumer and NATS, then
	busy  time.Duration    // the machine, then
	early int64            // requests to failing endpoints until then
}

func (r *run) run(ctx context.Context) error {
	steps := []func(context.Context) error{r.prepare, r.startConsumer, r.publish, r.wait, r.finish}
	if r.g.s.Backlog {
		steps = []func(context.Context) error{r.prepare, r.publishBacklog, r.startConsumer, r.wait, r.finish}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) service() bool { return r.o.Consumer == "service" }

func (r *run) prepare(ctx context.Context) error {
	if r.service() {
		return r.g.prepareService(ctx)
	}
	return nil
}

func (r *run) startConsumer(ctx context.Context) error {
	if r.service() {
		return r.g.startService(ctx)
	}
	return r.g.startPlain(ctx)
}

// publish publishes at the scenario's pace, and looks at the processes when the
// events begin to count and when they end.
func (r *run) publish(ctx context.Context) (err error) {
	sampling, stop := context.WithCancel(ctx)
	defer stop()
	lag := make(chan float64, 1)
	r.o.Publication, err = r.g.publish(ctx, func() error {
		go func() { lag <- r.mostLag(sampling) }()
		return r.mark(ctx)
	})
	if err != nil {
		return err
	}
	stop()
	r.o.Lag = <-lag
	return r.measure(ctx)
}

func (r *run) mark(ctx context.Context) (err error) {
	n, err := r.g.count(ctx)
	if err != nil {
		return err
	}
	r.early, r.began = n.Failing, time.Now()
	var errs [2]error
	r.first, errs[0] = r.g.usages()
	r.busy, errs[1] = process.MachineBusy()
	return errors.Join(errs[:]...)
}

func (r *run) measure(ctx context.Context) error {
	took := time.Since(r.began).Seconds()
	now, err := r.g.usages()
	if err != nil {
		return err
	}
	busy, err := process.MachineBusy()
	if err != nil {
		return err
	}
	r.o.Machine = (busy - r.busy).Seconds() / took
	r.o.Cores, r.o.NATS = (now[0].CPU-r.first[0].CPU).Seconds()/took, (now[1].CPU-r.first[1].CPU).Seconds()/took
	r.o.RSS = float64(now[0].RSS) / (1 << 20)
	n, err := r.g.count(ctx)
	r.o.Window = int(n.Failing - r.early)
	return err
}

// mostLag looks at the service's lag twice a second.
func (r *run) mostLag(ctx context.Context) (most float64) {
	for r.service() && process.Sleep(ctx, 500*time.Millisecond) == nil {
		if m, err := r.g.metrics(ctx); err == nil {
			most = max(most, m["webhooks_lag_events"])
		}
	}
	return most
}

// wait waits until every healthy event has come, or nothing has for a while.
func (r *run) wait(ctx context.Context) (err error) {
	last, changed := int64(-1), time.Now()
	for {
		n, err := r.g.count(ctx)
		if err != nil {
			return err
		}
		if n.Healthy != last {
			last, changed = n.Healthy, time.Now()
		}
		if last >= int64(r.o.Publication.Healthy) || time.Since(changed) > r.grace || !r.g.s.Backlog && time.Since(r.began) > r.g.s.Measure+r.grace {
			break
		}
		if err := process.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	r.o.Arrivals, err = r.g.arrivals(ctx)
	return err
}

// finish stops the service, which writes the rest of its delivery log, and reads
// what that says.
func (r *run) finish(ctx context.Context) (err error) {
	if !r.service() {
		return nil
	}
	if r.o.Metrics, err = r.g.metrics(ctx); err != nil {
		return err
	}
	if err := r.g.consumer.Stop(); err != nil {
		return err
	}
	if r.o.Parked, err = r.g.parked(ctx); err != nil {
		return err
	}
	r.o.Said, err = r.g.consumer.Complaints()
	return err
}
