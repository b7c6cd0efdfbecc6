package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// memoryCommand measures what waiting events cost.
type memoryCommand struct {
	Lanes    int           `default:"10000" help:"Endpoints, all of them dead, each with a lane."`
	Events   int           `default:"1000000" help:"Events waiting, spread over the lanes."`
	Settle   time.Duration `default:"60s" help:"How long the service is left alone before its memory is read."`
	Watch    time.Duration `default:"30s" help:"How long behind a restart a burst is looked for."`
	Kill     bool          `default:"true" negatable:"" help:"Restart by kill -9 too, whose leases take 15 s to expire."`
	Sync     string        `default:"2m" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Markdown string        `placeholder:"FILE" help:"Write the results as Markdown."`
	JSON     string        `placeholder:"FILE" help:"Write the raw numbers."`
	Keep     bool          `help:"Keep the temporary folder, with every process' log."`
}

// What is asked.
const (
	mostGrowth = 64.0        // MiB
	mostResume = 5.0         // seconds after the lease can be had
	mostBurst  = 64*5 + 64*5 // requests to dead endpoints in one second: the burst and the pace that 64 shards are allowed
)

// footprint is what the service and NATS have in memory, in MiB.
type footprint struct {
	Service, ServiceMost float64 // now, and the most it was
	NATS                 float64
}

// restart is how one went. Times are in seconds.
type restart struct {
	How     string
	Free    float64 // from the end of the old process until its leases were gone
	Ready   float64 // from the start of the new one until it was ready
	Resumed float64 // from when the leases could be had and the process was there until every shard had delivered
	Drained float64 // and until everything that waited for the mended endpoints was delivered
	Missing int     // shards that had not within minutes; those above are of the others
	Most    uint32  // requests to dead endpoints in one second, until a while behind it
	Memory  footprint
}

func (m *memoryRun) startService(ctx context.Context) error { return m.g.startService(ctx) }

// memoryReport is the whole result.
type memoryReport struct {
	Lanes, Events int
	GOGC          string
	Idle, Full    footprint
	Restarts      []restart
	Said          map[string]int
}

// Run fills the lanes, restarts the service in two ways, and prints what came of
// it.
func (c *memoryCommand) Run(ctx context.Context) error {
	bin, err := programs(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	r, err := c.measure(ctx, bin)
	if err != nil {
		return err
	}
	fmt.Print(r.text())
	return errors.Join(writeFile(c.Markdown, func() ([]byte, error) { return []byte(r.text()), nil }),
		writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }), r.verdict())
}

func (c *memoryCommand) measure(ctx context.Context, bin string) (r memoryReport, err error) {
	s := scenario{Name: "memory", Surveys: c.Lanes, Failing: c.Lanes, OneHost: true}
	g, err := openRig(ctx, setup{bin, c.Sync, c.Keep}, s)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	m := memoryRun{c: c, g: g, report: memoryReport{Lanes: c.Lanes, Events: c.Events, GOGC: os.Getenv("GOGC")}}
	err = m.run(ctx)
	return m.report, err
}

// memoryRun is one run on its rig.
type memoryRun struct {
	c      *memoryCommand
	g      *rig
	board  *health.Board
	report memoryReport
	mended int // surveys of each shard mended so far
}

func (m *memoryRun) run(ctx context.Context) (err error) {
	if err := m.g.prepareService(ctx); err != nil {
		return err
	}
	if m.board, err = health.Open(ctx, m.g.js, layout.Layout{}.Names, health.Options{}); err != nil {
		return err
	}
	defer m.board.Close()
	steps := []func(context.Context) error{m.startService, m.idle, m.fill, m.full, m.terminated}
	if m.c.Kill {
		steps = append(steps, m.crashed)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	m.report.Said, err = m.g.consumer.Complaints()
	return err
}

func (m *memoryRun) idle(ctx context.Context) (err error) {
	m.report.Idle, err = m.settled(ctx)
	return err
}

func (m *memoryRun) full(ctx context.Context) (err error) {
	m.report.Full, err = m.settled(ctx)
	return err
}

// settled reads the memory when the service has had nothing to do for a while.
func (m *memoryRun) settled(ctx context.Context) (footprint, error) {
	if err := m.quiet(ctx); err != nil {
		return footprint{}, err
	}
	if err := process.Sleep(ctx, m.c.Settle); err != nil {
		return footprint{}, err
	}
	return m.footprint()
}

// quiet waits until the service uses less than a third of a CPU.
func (m *memoryRun) quiet(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		before, err := m.g.consumer.Usage()
		if err != nil {
			return err
		}
		if err := process.Sleep(ctx, time.Second); err != nil {
			return err
		}
		now, err := m.g.consumer.Usage()
		if err != nil || now.CPU-before.CPU < 300*time.Millisecond {
			return err
		}
	}
	return errors.New("the service does not come to rest")
}

func (m *memoryRun) footprint() (f footprint, err error) {
	service, err1 := m.g.consumer.Usage()
	server, err2 := m.g.nats.Usage()
	const mib = 1 << 20
	return footprint{float64(service.RSS) / mib, float64(service.HWM) / mib, float64(server.RSS) / mib}, errors.Join(err1, err2)
}

// fill makes every endpoint one that has failed for long, and parks the events as
// the service does. Everything but the failures themselves is as it would be.
func (m *memoryRun) fill(ctx context.Context) error {
	if err := m.fail(ctx); err != nil {
		return err
	}
	parking, stop := context.WithCancel(ctx)
	defer stop()
	parker := lanes.NewParker(m.g.js, layout.Layout{}.Names, nil)
	go parker.Run(parking)
	return inParallel(1000, m.c.Events, func(i int) error {
		s, now := i%m.c.Lanes, time.Now()
		return parker.Park(ctx, lanes.Waiting{
			Survey: survey(s), EventID: fmt.Sprint("r-", i), Source: uint64(i) + 1, Published: now, Parked: now, //nolint:gosec // never negative
			Reason: "500", DueNow: true, Body: smallEvent(i, s),
		})
	})
}

// smallEvent has what an event must have: bodies stay in NATS, whatever their
// size.
func smallEvent(i, s int) []byte {
	return fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"%s"},"response":{"id":"r-%d"}}`, survey(s), i)
}

// fail writes down that every endpoint fails, and is probed next at some moment
// of the next five minutes, as those that have failed for long are.
func (m *memoryRun) fail(ctx context.Context) error {
	return inParallel(writers, m.c.Lanes, func(i int) error {
		next := time.Now().Add(5 * time.Minute * time.Duration(i) / time.Duration(m.c.Lanes))
		return m.failed(ctx, i, next)
	})
}

func (m *memoryRun) failed(ctx context.Context, i int, next time.Time) error {
	return m.board.Failed(ctx, survey(i), health.Failure{
		At: time.Now().UTC(), Reason: "500", NextProbe: next.UTC(), Waiting: m.c.Events / m.c.Lanes,
	})
}

func (m *memoryRun) terminated(ctx context.Context) error {
	return m.restart(ctx, "SIGTERM", func() error { return m.g.consumer.Stop() })
}

func (m *memoryRun) crashed(ctx context.Context) error {
	return m.restart(ctx, "kill -9", func() error { m.g.consumer.Kill(); return nil })
}

// text is the result for people.
func (r memoryReport) text() string {
	gogc := r.GOGC
	if gogc == "" {
		gogc = "unset, so steered by the service"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d lanes, %d waiting events; GOGC %s; %s/%s, %d CPUs.\n\n", r.Lanes, r.Events, gogc, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	b.WriteString("| | service RSS MiB | most | growth | NATS RSS MiB |\n|---|---|---|---|---|\n")
	line := func(name string, f footprint) {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.0f |\n", name, f.Service, f.ServiceMost, f.Service-r.Idle.Service, f.NATS)
	}
	line("idle, lanes empty", r.Idle)
	line("lanes full", r.Full)
	for _, one := range r.Restarts {
		line("after "+one.How, one.Memory)
	}
	r.restarts(&b)
	for said, n := range r.Said {
		fmt.Fprintf(&b, "\nThe service said %d times: %s\n", n, said)
	}
	return b.String()
}

func (r memoryReport) restarts(out io.Writer) {
	fmt.Fprintf(out, "\n| restart by | leases free s | ready s | every shard delivers s | mended lanes drained s | not within %s | most to dead ones in a second |\n|---|---|---|---|---|---|---|\n", resumeWithin)
	for _, one := range r.Restarts {
		fmt.Fprintf(out, "| %s | %.2f | %.2f | %.2f | %.2f | %d | %d |\n", one.How, one.Free, one.Ready, one.Resumed, one.Drained, one.Missing, one.Most)
	}
}

// verdict is an error that lists what was asked and is not so.
func (r memoryReport) verdict() error {
	var errs []error
	if grown := r.Full.Service - r.Idle.Service; grown > mostGrowth {
		errs = append(errs, fmt.Errorf("memory: the service grew by %.1f MiB, at most %.0f are allowed", grown, mostGrowth))
	}
	for _, one := range r.Restarts {
		if one.Missing > 0 {
			errs = append(errs, fmt.Errorf("%s: %d shards had not delivered what waited within %s", one.How, one.Missing, resumeWithin))
		}
		if one.Most > mostBurst {
			errs = append(errs, fmt.Errorf("%s: %d requests to dead endpoints in one second, at most %d are allowed", one.How, one.Most, mostBurst))
		}
		if one.Resumed > mostResume {
			errs = append(errs, fmt.Errorf("%s: the last shard delivered after %.1f s, at most %.0f are allowed", one.How, one.Resumed, mostResume))
		}
	}
	return errors.Join(errs...)
}
