package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// hostsCommand measures deliveries to very many hosts, each of which gets one event
// in turn.
type hostsCommand struct {
	Hosts    int           `default:"10000" help:"Hosts, each an address of its own and with one survey."`
	Passes   int           `default:"5" help:"Events that each host gets; all others get theirs between two of them."`
	Rounds   int           `default:"3" help:"How often; each time beside as many events to 100 hosts."`
	Grace    time.Duration `default:"10s" help:"What is still missing so long after the last event is missing."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Markdown string        `placeholder:"FILE" help:"Write the results as Markdown."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Profile  string        `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	Keep     bool          `help:"Keep the temporary folders, with every process' log."`
}

// What is asked. Connections are those that the service keeps, one for each attempt
// in flight, and some for NATS, the admin listener and files.
const (
	mostKept        = 4096
	mostInFlight    = 2000
	mostDescriptors = mostKept + mostInFlight + 100
	mostHostsMemory = 256.0 // MiB
)

// hostsRun is one run of the service.
type hostsRun struct {
	Hosts       int
	Round       int
	Rate        float64 // events a second
	CPU         float64 // of the service, µs an event
	Descriptors int     // open in the service, at most
	Waiting     int     // sockets of the machine in TIME_WAIT, at most
	RSS         float64 // MiB, at most
	Missing     int
	Duplicates  int
	Failed      map[string]float64 // attempts that did not end with a 2xx, by reason
	Said        map[string]int
}

// Run measures, and fails where what is asked is not so.
func (c *hostsCommand) Run(ctx context.Context) error {
	bin, err := programsOf(ctx, c.Profile)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	all, err := c.runs(ctx, bin)
	if err != nil {
		return err
	}
	text := c.text(all)
	fmt.Print(text)
	return errors.Join(writeFile(c.Markdown, func() ([]byte, error) { return []byte(text), nil }),
		writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(all, "", "  ") }), unmet(c.asked(all)))
}

func (c *hostsCommand) runs(ctx context.Context, bin string) (all []hostsRun, err error) {
	events := c.Hosts * c.Passes
	for round := range c.Rounds {
		for _, s := range []scenario{
			{Name: "100 hosts", Surveys: c.Hosts, Backlog: true, Events: events, InTurn: true},
			{Name: "many hosts", Surveys: c.Hosts, Backlog: true, Events: events, InTurn: true, OwnHosts: true},
		} {
			r, err := c.run(ctx, bin, s)
			if err != nil {
				return all, fmt.Errorf("%s: %w", s.Name, err)
			}
			r.Round = round
			fmt.Fprintf(os.Stderr, "%d hosts, round %d: %.0f/s, %.0f µs an event, %d descriptors, %d in TIME_WAIT, RSS %.0f MiB, %d missing, %d duplicates, failed %v%s\n",
				r.Hosts, r.Round+1, r.Rate, r.CPU, r.Descriptors, r.Waiting, r.RSS, r.Missing, r.Duplicates, r.Failed, complaints(r.Said))
			all = append(all, r)
		}
	}
	return all, nil
}

// run publishes everything before the service starts, which then delivers as fast
// as it goes.
func (c *hostsCommand) run(ctx context.Context, bin string, s scenario) (h hostsRun, err error) {
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, s)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.prepareService(ctx); err != nil {
		return h, err
	}
	r := run{g: g, grace: c.Grace, o: outcome{Scenario: s.Name, Consumer: "service"}}
	if r.o.Publication, err = g.publish(ctx, func() error { return nil }); err != nil {
		return h, err
	}
	if err := g.startService(ctx); err != nil {
		return h, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	most := make(chan sockets, 1)
	go func() { most <- g.mostSockets(watching) }()
	if err := r.wait(ctx); err != nil {
		return h, err
	}
	stop()
	u, err := g.consumer.Usage()
	if err != nil {
		return h, err
	}
	if err := r.finish(ctx); err != nil {
		return h, err
	}
	seen := <-most
	return hostsRun{
		Hosts: s.hosts(), Rate: r.o.rate(), CPU: float64(u.CPU.Microseconds()) / float64(s.Events), RSS: float64(u.HWM) / (1 << 20),
		Descriptors: seen.descriptors, Waiting: seen.waiting,
		Missing: s.Events - r.o.Arrivals.Healthy, Duplicates: r.o.Arrivals.Duplicates, Failed: failedAttempts(r.o.Metrics), Said: r.o.Said,
	}, nil
}

// sockets is how many there were at most.
type sockets struct{ descriptors, waiting int }

// mostSockets looks ten times a second until ctx ends. A look that fails is none:
// the process may just have ended.
func (g *rig) mostSockets(ctx context.Context) (most sockets) {
	for process.Sleep(ctx, 100*time.Millisecond) == nil {
		if n, err := g.consumer.Descriptors(); err == nil {
			most.descriptors = max(most.descriptors, n)
		}
		if n, err := process.TimeWait(); err == nil {
			most.waiting = max(most.waiting, n)
		}
	}
	return most
}

// failedAttempts picks the attempts that did not end with a 2xx from the metrics.
func failedAttempts(metrics map[string]float64) map[string]float64 {
	failed := map[string]float64{}
	for name, n := range metrics {
		reason, is := strings.CutPrefix(name, `webhooks_attempts_total{reason="`)
		if reason = strings.TrimSuffix(reason, `"}`); is && reason != "2xx" {
			failed[reason] = n
		}
	}
	return failed
}

// withHosts is the runs with as many hosts.
func withHosts(all []hostsRun, hosts int) (some []hostsRun) {
	for _, r := range all {
		if r.Hosts == hosts {
			some = append(some, r)
		}
	}
	return some
}

func (c *hostsCommand) asked(all []hostsRun) []asked {
	var missing, duplicates, local, failed, descriptors, rss float64
	for _, r := range withHosts(all, c.Hosts) {
		missing, duplicates, local = missing+float64(r.Missing), duplicates+float64(r.Duplicates), local+r.Failed["local"]
		for n := range maps.Values(r.Failed) {
			failed += n
		}
		descriptors, rss = max(descriptors, float64(r.Descriptors)), max(rss, r.RSS)
	}
	return []asked{
		atMost("events missing", missing, 0),
		atMost("duplicates", duplicates, 0),
		atMost("attempts for which this machine had no port or socket left", local, 0),
		atMost("attempts that failed in any way", failed, 0),
		atMost("descriptors of the service", descriptors, mostDescriptors),
		atMost("MiB of the service", rss, mostHostsMemory),
	}
}

// text is the result for people.
func (c *hostsCommand) text(all []hostsRun) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d CPUs, %s; everything on this one machine, plain HTTP. NATS sync_interval %s, file store, R1. %d events of about 1 KB of %d surveys, in turn, as fast as it goes; medians of %d rounds, the worst of what is bounded.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), c.Sync, c.Hosts*c.Passes, c.Hosts, c.Rounds)
	b.WriteString("| hosts | events/s | CPU µs an event | descriptors | in TIME_WAIT | RSS MiB | missing | duplicates | failed |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, hosts := range slices.Compact([]int{healthyHosts, c.Hosts}) {
		mine := withHosts(all, hosts)
		if len(mine) == 0 {
			continue
		}
		most := func(value func(hostsRun) float64) float64 { return slices.Max(figures(mine, value)) }
		fmt.Fprintf(&b, "| %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", hosts,
			middle(figures(mine, func(r hostsRun) float64 { return r.Rate })), middle(figures(mine, func(r hostsRun) float64 { return r.CPU })),
			most(func(r hostsRun) float64 { return float64(r.Descriptors) }), most(func(r hostsRun) float64 { return float64(r.Waiting) }),
			most(func(r hostsRun) float64 { return r.RSS }), most(func(r hostsRun) float64 { return float64(r.Missing) }),
			most(func(r hostsRun) float64 { return float64(r.Duplicates) }), most(func(r hostsRun) (n float64) {
				for v := range maps.Values(r.Failed) {
					n += v
				}
				return n
			}))
	}
	return b.String() + "\n" + verdicts(c.asked(all))
}

// figures is one figure of several runs.
func figures[T any](all []T, value func(T) float64) []float64 {
	values := make([]float64, len(all))
	for i, v := range all {
		values[i] = value(v)
	}
	return values
}
