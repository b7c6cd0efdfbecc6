package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// startupCommand measures how soon the service is ready.
type startupCommand struct {
	Starts    int    `default:"10" help:"Starts with an empty store, each followed by one with the store that it left."`
	Endpoints int    `default:"1000000" help:"Endpoints, each with a sealed secret, that are loaded; 0 leaves that out."`
	Markdown  string `placeholder:"FILE" help:"Write the results as Markdown."`
	JSON      string `placeholder:"FILE" help:"Write the raw numbers."`
	Profile   string `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	Keep      bool   `help:"Keep the temporary folders, with every process' log."`
}

// What is asked.
const (
	mostReady  = 300.0 // ms, on the embedded default
	mostLoad   = 10.0  // seconds
	mostLoaded = 400.0 // MiB
)

// startupReport is the whole result. Starts are in milliseconds.
type startupReport struct {
	Empty []float64 // the data folder was not there
	Again []float64 // and with what that start had left
	Loads []load
}

// load is one start with many endpoints. Times are in seconds, memory in MiB.
type load struct {
	NATS      string // where it runs
	Endpoints int
	Ready     float64 // from the start of the process
	CPU       float64
	RSS       float64 // when it was ready
	Most      float64 // until some seconds later
}

// Run measures, and fails where what is asked is not so.
func (c *startupCommand) Run(ctx context.Context) error {
	bin, err := programsOf(ctx, c.Profile)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	r, err := c.report(ctx, bin)
	if err != nil {
		return err
	}
	text := r.text()
	fmt.Print(text)
	return errors.Join(writeFile(c.Markdown, func() ([]byte, error) { return []byte(text), nil }),
		writeFile(c.JSON, func() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }), unmet(r.asked()))
}

func (c *startupCommand) report(ctx context.Context, bin string) (r startupReport, err error) {
	for range c.Starts {
		if err := c.twice(ctx, bin, &r); err != nil {
			return r, fmt.Errorf("start with an empty store: %w", err)
		}
	}
	if c.Endpoints > 0 {
		if r.Loads, err = c.loads(ctx, bin); err != nil {
			return r, fmt.Errorf("load %d endpoints: %w", c.Endpoints, err)
		}
	}
	return r, nil
}

// twice starts the embedded default in a folder that is not there, and again with
// what the first start left.
func (c *startupCommand) twice(ctx context.Context, bin string, r *startupReport) (err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	if !c.Keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	for _, times := range []*[]float64{&r.Empty, &r.Again} {
		p, took, err := startEmbedded(ctx, dir, bin)
		if err != nil {
			return err
		}
		if err := p.Stop(); err != nil {
			return err
		}
		*times = append(*times, float64(took.Microseconds())/1000)
	}
	return nil
}

// startEmbedded starts the service with its own NATS in a folder below dir, and
// says how long it took until it was ready.
func startEmbedded(ctx context.Context, dir, bin string, more ...string) (*process.Process, time.Duration, error) {
	listen, err := process.FreePort(ctx)
	if err != nil {
		return nil, 0, err
	}
	return startTimed(ctx, dir, bin, append([]string{"--data-dir", filepath.Join(dir, "data"), "--listen", fmt.Sprintf("127.0.0.1:%d", listen)}, more...)...)
}

// startTimed starts the service and says how long it took until it was ready.
func startTimed(ctx context.Context, dir, bin string, more ...string) (*process.Process, time.Duration, error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, 0, err
	}
	admin := fmt.Sprintf("127.0.0.1:%d", port)
	began := time.Now()
	p, err := process.Start(dir, "webhooks", filepath.Join(bin, "webhooks"), nil, append([]string{"run", "--admin-listen", admin}, more...)...)
	if err != nil {
		return nil, 0, err
	}
	for {
		_, err := process.Get(ctx, "http://"+admin+"/readyz")
		took := time.Since(began)
		if err == nil {
			return p, took, nil
		}
		if took > 2*time.Minute {
			return nil, 0, errors.Join(fmt.Errorf("%w: %s", err, p.LastWords()), p.Stop())
		}
		if err := process.Sleep(ctx, time.Millisecond+took/100); err != nil { // asking must not cost what is measured
			return nil, 0, errors.Join(err, p.Stop())
		}
	}
}

func (r startupReport) asked() []asked {
	all := []asked{
		atMost("ready with an empty store, median ms", middle(r.Empty), mostReady),
		atMost("ready with the store of the start before, median ms", middle(r.Again), mostReady),
	}
	for _, l := range r.Loads {
		all = append(all, atMost(fmt.Sprintf("%d endpoints loaded, NATS %s, seconds", l.Endpoints, l.NATS), l.Ready, mostLoad))
		if l.NATS == natsBeside { // with the server inside, its index of the bucket is in the figure
			all = append(all, atMost(fmt.Sprintf("%d endpoints loaded, MiB at most", l.Endpoints), l.Most, mostLoaded))
		}
	}
	return all
}

// text is the result for people.
func (r startupReport) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d CPUs, %s.\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(&b, "| ready on the embedded default, %d starts | median ms | fastest | slowest |\n|---|---|---|---|\n", len(r.Empty))
	line := func(name string, times []float64) {
		if len(times) > 0 {
			fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f |\n", name, middle(times), slices.Min(times), slices.Max(times))
		}
	}
	line("no data folder yet", r.Empty)
	line("with the store of the start before", r.Again)
	if len(r.Loads) > 0 {
		b.WriteString("\n| endpoints | NATS | ready s | CPU s | RSS MiB | at most |\n|---|---|---|---|---|---|\n")
	}
	for _, l := range r.Loads {
		fmt.Fprintf(&b, "| %d | %s | %.2f | %.2f | %.0f | %.0f |\n", l.Endpoints, l.NATS, l.Ready, l.CPU, l.RSS, l.Most)
	}
	return b.String() + "\n" + verdicts(r.asked())
}
