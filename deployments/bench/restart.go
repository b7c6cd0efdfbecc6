package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/deployments/internal/process"
	"github.com/popsee/webhooks/events"
)

// restart ends the service and starts it anew. Meanwhile one endpoint of every
// shard is mended, and its probe becomes due: what it gets then shows when its
// shard is tended again.
func (m *memoryRun) restart(ctx context.Context, how string, end func() error) error {
	r := restart{How: how}
	mended, err := m.pick()
	if err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	ended := time.Now()
	free := make(chan time.Time, 1)
	go func() { free <- m.leasesGone(ctx) }()
	if err := m.mend(ctx, mended); err != nil {
		return err
	}
	began := time.Now()
	if err := m.g.startService(ctx); err != nil {
		return err
	}
	r.Ready = time.Since(began).Seconds()
	freed := <-free
	r.Free = freed.Sub(ended).Seconds()
	if freed.Before(began) {
		freed = began
	}
	if err := m.watch(ctx, mended, freed, &r); err != nil {
		return err
	}
	if r.Memory, err = m.settled(ctx); err != nil {
		return err
	}
	m.report.Restarts = append(m.report.Restarts, r)
	return nil
}

// pick finds one survey of each shard that was not mended before.
func (m *memoryRun) pick() ([]int, error) {
	names := layout.Layout{}.Names
	var picked [events.Shards][]int
	for i := range m.c.Lanes {
		shard := names.Shard(survey(i))
		picked[shard] = append(picked[shard], i)
	}
	var mended []int
	for shard, surveys := range picked {
		if len(surveys) <= m.mended {
			return nil, fmt.Errorf("shard %d has too few lanes", shard)
		}
		mended = append(mended, surveys[m.mended])
	}
	m.mended++
	return mended, nil
}

func (m *memoryRun) mend(ctx context.Context, surveys []int) error {
	return inParallel(writers, len(surveys), func(n int) error {
		if err := m.g.mend(ctx, surveys[n]); err != nil {
			return err
		}
		return m.failed(ctx, surveys[n], time.Now())
	})
}

// leasesGone waits until the old process' leases can be had by the new one.
func (m *memoryRun) leasesGone(ctx context.Context) time.Time {
	kv, err := m.g.js.KeyValue(ctx, layout.Layout{}.Names.Leases())
	if err != nil {
		return time.Now()
	}
	for before := holder(ctx, kv); before != "" && holder(ctx, kv) == before; {
		if process.Sleep(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	return time.Now()
}

// holder is who holds the first shard; empty when nobody does. All leases of a
// process are renewed, and expire, within milliseconds of each other.
func holder(ctx context.Context, kv jetstream.KeyValue) string {
	entry, err := kv.Get(ctx, "00")
	var h leases.Holding
	if err != nil || json.Unmarshal(entry.Value(), &h) != nil {
		return ""
	}
	return h.Replica
}

// resumeWithin is how long a restart is watched. It is asked to be far sooner.
const resumeWithin = 3 * time.Minute

// watch waits until the mended endpoints have everything that waited for them,
// and then a while for a burst.
func (m *memoryRun) watch(ctx context.Context, mended []int, freed time.Time, r *restart) error {
	want := m.c.Events / m.c.Lanes
	var t tally
	for deadline := time.Now().Add(resumeWithin); time.Now().Before(deadline); {
		var err error
		if t, err = m.g.arrivals(ctx); err != nil {
			return err
		}
		if t.done(mended, want) {
			break
		}
		if err := process.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	for _, i := range mended {
		got := t.Mended[i]
		if got.Times < want {
			r.Missing++
			continue
		}
		r.Resumed = max(r.Resumed, got.First.Sub(freed).Seconds())
		r.Drained = max(r.Drained, got.Last.Sub(freed).Seconds())
	}
	if err := process.Sleep(ctx, m.c.Watch); err != nil {
		return err
	}
	t, err := m.g.arrivals(ctx)
	for _, n := range t.Refused[min(max(int(freed.Sub(t.Began).Seconds()), 0), len(t.Refused)):] {
		r.Most = max(r.Most, n)
	}
	return err
}

func (t tally) done(surveys []int, want int) bool {
	for _, i := range surveys {
		if t.Mended[i].Times < want {
			return false
		}
	}
	return true
}
