package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// pathCommand measures the way of an event from the publisher to a 2xx.
type pathCommand struct {
	Rounds   int           `default:"5" help:"How often each consumer has its turn; they alternate."`
	Events   int           `default:"200000" help:"Events of the backlog that is delivered as fast as it goes."`
	Surveys  int           `default:"100" help:"Surveys, on 100 hosts."`
	Rate     int           `default:"2000" help:"Events a second, where latency is measured."`
	Warm     time.Duration `default:"2s" help:"Not counted, of the paced run."`
	Measure  time.Duration `default:"10s" help:"Counted, of the paced run."`
	Grace    time.Duration `default:"10s" help:"What is still missing so long after the last event is missing."`
	Workers  int           `default:"256" help:"Attempts that those beside the service make at once."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	TLS      string        `name:"tls" default:"off" enum:"off,http1,http2" help:"What the receivers speak: plain HTTP, or HTTPS with HTTP/1.1 or HTTP/2, with a certificate authority of the run's own."`
	Only     []string      `placeholder:"NAME,..." help:"Only these consumers."`
	Markdown string        `placeholder:"FILE" help:"Write the table as Markdown."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Profile  string        `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	Keep     bool          `help:"Keep the temporary folders, with every process' log."`
}

// contender is one of those that are measured.
type contender struct {
	name  string
	start func(ctx context.Context, g *rig, c *pathCommand) error
}

const limitName = "loop"

func contenders() []contender {
	service := func(more ...string) func(context.Context, *rig, *pathCommand) error {
		return func(ctx context.Context, g *rig, _ *pathCommand) error { return g.startService(ctx, more...) }
	}
	return []contender{
		{limitName, func(_ context.Context, g *rig, c *pathCommand) error {
			args := []string{"loop", "--nats", g.url, "--urls", g.path("urls.json"), "--workers", fmt.Sprint(c.Workers)}
			if g.s.encrypted() {
				args = append(args, "--ca", g.path(caFile), fmt.Sprintf("--http2=%v", g.s.TLS == http2))
			}
			return g.startOther("loop", g.program("bench"), args...)
		}},
		{"service", service()},
		{"service without delivery log", service("--no-delivery-log")},
		{"watermill", func(_ context.Context, g *rig, c *pathCommand) error {
			return g.startOther("watermill", g.program("watermill"), "-nats", g.url, "-urls", g.path("urls.json"),
				"-consumer", plainConsumer, "-secret", sharedSecret, "-workers", fmt.Sprint(c.Workers))
		}},
	}
}

// startOther starts a consumer that is not the service, on the plain durable.
func (g *rig) startOther(name, program string, args ...string) (err error) {
	urls := map[string]string{}
	for i := range g.s.Surveys {
		urls[string(survey(i))] = g.s.url(g.at.Hosts, i)
	}
	b, err := json.Marshal(urls)
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.path("urls.json"), b, 0o600); err != nil {
		return err
	}
	var env []string
	if g.s.encrypted() {
		env = []string{"SSL_CERT_FILE=" + g.path(caFile)} // for those that trust what the system trusts
	}
	g.consumer, err = process.Start(g.dir, name, program, env, args...)
	return err
}

// pathFigures is one turn of one consumer. CPU is in microseconds an event, RSS in
// MiB, latency from publication to arrival in milliseconds.
type pathFigures struct {
	Consumer                          string
	Round                             int
	Rate                              float64 // events a second of the backlog
	ConsumerCPU, NATSCPU, ReceiverCPU float64
	RSS                               float64
	P50, P99                          float64
	Missing, Duplicates               int
	RateRatio, CPURatio, LatencyRatio float64 // of the round's loop; set when all have had their turn
}

// Run measures and prints the table.
func (c *pathCommand) Run(ctx context.Context) error {
	bin, err := programsOf(ctx, c.Profile)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	if err := buildWatermill(ctx, bin); err != nil {
		return err
	}
	all, err := c.turns(ctx, bin)
	if err != nil {
		return err
	}
	t, asked := pathTable(all), c.asked(all)
	fmt.Printf("%s\n%s\n%s", c.head(), t.Render(), verdicts(asked))
	return errors.Join(
		writeFile(c.Markdown, func() ([]byte, error) {
			return []byte(c.head() + "\n\n" + t.RenderMarkdown() + "\n\n" + verdicts(asked)), nil
		}),
		writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(all, "", "  ") }), unmet(asked))
}

// asked is what is asked of those that have had a turn.
func (c *pathCommand) asked(all []pathFigures) (list []asked) {
	figure := func(consumer string, value func(pathFigures) float64) (float64, bool) {
		var values []float64
		for _, f := range all {
			if f.Consumer == consumer && f.RateRatio > 0 {
				values = append(values, value(f))
			}
		}
		return middle(values), len(values) > 0
	}
	rate := func(f pathFigures) float64 { return f.RateRatio }
	service, there := figure("service", rate)
	if !there {
		return nil
	}
	list = append(list, atLeast("the service's events/s, of the loop's", service, 0.85))
	missing := 0.0
	for _, f := range all {
		if strings.HasPrefix(f.Consumer, "service") {
			missing += float64(f.Missing)
		}
	}
	list = append(list, atMost("events missing", missing, 0))
	if c.TLS != plainHTTP {
		return list
	}
	cpu, _ := figure("service", func(f pathFigures) float64 { return f.CPURatio })
	p99, _ := figure("service", func(f pathFigures) float64 { return f.LatencyRatio })
	list = append(list, atMost("its CPU an event, of the loop's", cpu, 1.2), atMost("its p99, of the loop's", p99, 1.5))
	if ratio, there := figure("service without delivery log", rate); there {
		list = append(list, atLeast("events/s without the delivery log, of the loop's", ratio, 0.95))
	}
	if ratio, there := figure("watermill", rate); there {
		list = append(list, atLeast("the service's events/s, of Watermill's", service/ratio, 1.5))
	}
	return list
}

func (c *pathCommand) head() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s; everything on this one machine, %s. NATS sync_interval %s, file store, R1. %d events of about 1 KB over %d surveys as fast as it goes, then %d/s for %s; medians of %d rounds.",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), spoken(c.TLS), c.Sync, c.Events, c.Surveys, c.Rate, c.Measure, c.Rounds)
}

// spoken is what the receivers speak, in words.
func spoken(tls string) string {
	switch tls {
	case http1:
		return "HTTPS over HTTP/1.1"
	case http2:
		return "HTTPS over HTTP/2"
	default:
		return "plain HTTP"
	}
}

// turns lets each have its turn in each round.
func (c *pathCommand) turns(ctx context.Context, bin string) (all []pathFigures, err error) {
	for round := range c.Rounds {
		for _, who := range contenders() {
			if len(c.Only) > 0 && !slices.Contains(c.Only, who.name) {
				continue
			}
			f := pathFigures{Consumer: who.name, Round: round}
			for _, s := range []scenario{
				{Name: "backlog", Surveys: c.Surveys, TLS: c.TLS, Backlog: true, Events: c.Events},
				{Name: "paced", Surveys: c.Surveys, TLS: c.TLS, Rate: c.Rate, Warm: c.Warm, Measure: c.Measure},
			} {
				if err := c.turn(ctx, bin, who, s, &f); err != nil {
					return all, fmt.Errorf("%s, %s: %w", who.name, s.Name, err)
				}
			}
			fmt.Fprintf(os.Stderr, "%-29s round %d: %6.0f/s, CPU µs an event: %.0f, NATS %.0f, receiver %.0f; p50 %.2f ms, p99 %.2f ms, RSS %.0f MiB, %d missing, %d duplicates\n",
				f.Consumer, f.Round+1, f.Rate, f.ConsumerCPU, f.NATSCPU, f.ReceiverCPU, f.P50, f.P99, f.RSS, f.Missing, f.Duplicates)
			all = append(all, f)
		}
	}
	return compared(all), nil
}

// turn runs one scenario with one consumer on a rig of its own.
func (c *pathCommand) turn(ctx context.Context, bin string, who contender, s scenario, f *pathFigures) (err error) {
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil { // the others find the same on NATS
		return err
	}
	if _, err := g.js.CreateOrUpdateConsumer(ctx, eventStream, plainConfig()); err != nil {
		return err
	}
	r := run{g: g, grace: c.Grace, o: outcome{Scenario: s.Name, Consumer: who.name}}
	if s.Backlog {
		return c.backlog(ctx, who, &r, f)
	}
	return c.paced(ctx, who, &r, f)
}

func (c *pathCommand) backlog(ctx context.Context, who contender, r *run, f *pathFigures) error {
	var err error
	if r.o.Publication, err = r.g.publish(ctx, func() error { return nil }); err != nil {
		return err
	}
	before, err := r.all()
	if err != nil {
		return err
	}
	if err := who.start(ctx, r.g, c); err != nil {
		return err
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	after, err := r.all()
	if err != nil {
		return err
	}
	if err := r.spoke(ctx); err != nil {
		return err
	}
	each := func(u, v process.Usage) float64 {
		return float64((v.CPU - u.CPU).Microseconds()) / float64(r.o.Publication.Healthy)
	}
	f.Rate, f.RSS = r.o.rate(), float64(after[0].HWM)/(1<<20)
	f.ConsumerCPU, f.NATSCPU, f.ReceiverCPU = each(before[0], after[0]), each(before[1], after[1]), each(before[2], after[2])
	f.Missing += r.o.Publication.Healthy - r.o.Arrivals.Healthy
	f.Duplicates += r.o.Arrivals.Duplicates
	return nil
}

// spoke is an error when something else was spoken than is measured.
func (r *run) spoke(ctx context.Context) error {
	n, err := r.g.count(ctx)
	if want := r.g.s.TLS == http2; err == nil && want != (n.HTTP2 > 0) {
		err = fmt.Errorf("%d requests of %d came over HTTP/2, while %s is measured", n.HTTP2, n.Healthy, spoken(r.g.s.TLS))
	}
	return err
}

// all is what the consumer, NATS and the receiver have used; nothing for a consumer
// that does not run yet.
func (r *run) all() (u [3]process.Usage, err error) {
	for i, p := range []*process.Process{r.g.consumer, r.g.nats, r.g.receiver} {
		if p != nil {
			if u[i], err = p.Usage(); err != nil {
				return u, err
			}
		}
	}
	return u, nil
}

func (c *pathCommand) paced(ctx context.Context, who contender, r *run, f *pathFigures) error {
	if err := who.start(ctx, r.g, c); err != nil {
		return err
	}
	var err error
	r.o.Publication, err = r.g.publish(ctx, func() error {
		r.began = time.Now()
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	f.P50, f.P99 = r.o.Arrivals.P50, r.o.Arrivals.P99
	f.Missing += r.o.Publication.Healthy - r.o.Arrivals.Healthy
	f.Duplicates += r.o.Arrivals.Duplicates
	return nil
}

// compared sets each turn against the loop's of the same round.
func compared(all []pathFigures) []pathFigures {
	for i, f := range all {
		n := slices.IndexFunc(all, func(g pathFigures) bool { return g.Round == f.Round && g.Consumer == limitName })
		if n < 0 {
			continue
		}
		l := all[n]
		all[i].RateRatio, all[i].CPURatio, all[i].LatencyRatio = f.Rate/l.Rate, f.ConsumerCPU/l.ConsumerCPU, f.P99/l.P99
	}
	return all
}

func pathTable(all []pathFigures) table.Writer {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"consumer", "events/s", "of the loop's", "CPU µs an event", "of the loop's", "NATS", "receiver", "p50 ms", "p99 ms", "of the loop's", "RSS MiB", "missing", "duplicates"})
	for _, who := range contenders() {
		var mine []pathFigures
		for _, f := range all {
			if f.Consumer == who.name {
				mine = append(mine, f)
			}
		}
		if len(mine) == 0 {
			continue
		}
		of := func(value func(f pathFigures) float64) string { return decimals(median(mine, value)) }
		missing, duplicates := 0, 0
		for _, f := range mine {
			missing, duplicates = missing+f.Missing, duplicates+f.Duplicates
		}
		t.AppendRow(table.Row{
			who.name, of(func(f pathFigures) float64 { return f.Rate }), of(func(f pathFigures) float64 { return f.RateRatio }),
			of(func(f pathFigures) float64 { return f.ConsumerCPU }), of(func(f pathFigures) float64 { return f.CPURatio }),
			of(func(f pathFigures) float64 { return f.NATSCPU }), of(func(f pathFigures) float64 { return f.ReceiverCPU }),
			of(func(f pathFigures) float64 { return f.P50 }), of(func(f pathFigures) float64 { return f.P99 }), of(func(f pathFigures) float64 { return f.LatencyRatio }),
			of(func(f pathFigures) float64 { return f.RSS }), missing, duplicates,
		})
	}
	return t
}
