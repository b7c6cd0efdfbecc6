package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// turn is one backlog that the service delivered. Rate is events a second, from the
// first arrival to the last; CPU is in microseconds an event, from when the service
// was ready on; RSS in MiB.
type turn struct {
	Rate                float64
	CPU, NATSCPU        float64
	RSS                 float64
	Missing, Duplicates int
}

// deliver publishes the scenario's events and then starts the service, which stays
// until the rig is closed or it is stopped.
func (g *rig) deliver(ctx context.Context) (t turn, err error) {
	p, err := g.publish(ctx, func() error { return nil })
	if err != nil {
		return t, err
	}
	if err := g.rest(ctx); err != nil {
		return t, err
	}
	if err := g.startService(ctx); err != nil {
		return t, err
	}
	used, err := g.meter()
	if err != nil {
		return t, err
	}
	if err := g.arrived(ctx, p.Healthy); err != nil {
		return t, err
	}
	if t.CPU, t.NATSCPU, err = used(p.Healthy); err != nil {
		return t, err
	}
	a, err := g.arrivals(ctx)
	if err != nil {
		return t, err
	}
	u, err := g.consumer.Usage()
	t.Rate, t.RSS = float64(a.Healthy)/(a.Last-a.First)*1000, float64(u.HWM)/(1<<20)
	t.Missing, t.Duplicates = g.s.total()-a.Healthy, a.Duplicates
	return t, err
}

// What NATS may use of a CPU at rest, and how long it may take to come to rest.
const (
	restLook = time.Second
	restMost = restLook / 20
	restTime = time.Minute
)

// rest has the system write what was stored, and waits until NATS has nothing more to
// do: what it costs to store a million endpoints or ten million events is not what is
// measured here.
func (g *rig) rest(ctx context.Context) error {
	syscall.Sync()
	return process.Until(ctx, restTime, func() error {
		before, err := g.nats.Usage()
		if err != nil {
			return err
		}
		if err := process.Sleep(ctx, restLook); err != nil {
			return err
		}
		now, err := g.nats.Usage()
		if busy := now.CPU - before.CPU; err == nil && busy > restMost {
			err = fmt.Errorf("NATS does not come to rest: it used %s of CPU in %s", busy, restLook)
		}
		return err
	})
}

// meter begins to measure the CPU of the service and NATS; what it returns says how
// many microseconds of each an event took since.
func (g *rig) meter() (func(n int) (service, server float64, err error), error) {
	before, err := g.usages()
	if err != nil {
		return nil, err
	}
	return func(n int) (service, server float64, err error) {
		now, err := g.usages()
		each := func(i int) float64 { return float64((now[i].CPU - before[i].CPU).Microseconds()) / float64(max(n, 1)) }
		return each(0), each(1), err
	}, nil
}

func (g *rig) usages() (u [2]process.Usage, err error) {
	var errs [2]error
	u[0], errs[0] = g.consumer.Usage()
	u[1], errs[1] = g.nats.Usage()
	return u, errors.Join(errs[:]...)
}

// machine is what a figure was measured on; without it a figure says nothing.
func machine(sync string) string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s; everything on this one machine, plain HTTP. NATS sync_interval %s, file store, R1.",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), sync)
}

// met is the line below a table.
func met(verdict error) string {
	if verdict == nil {
		return "Everything asked was met."
	}
	return "Not met: " + strings.ReplaceAll(verdict.Error(), "\n", "; ") + "."
}
