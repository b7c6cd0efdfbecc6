package main

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// load is how many events a second are published. With 2,000 the machine is full and
// this takes more than a minute: go test ./deployments/faults -run Rolling -args -load 2000
var load = flag.Int("load", 600, "events a second while replicas roll")

// TestRollingOverReplicasUnderLoadLosesAndRepeatsNothing is the upgrade of a fleet:
// real processes, one replica after the other ended with SIGTERM and started again,
// while events come in and lanes drain.
func TestRollingOverReplicasUnderLoadLosesAndRepeatsNothing(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := openForTest(ctx, t)
	waited := s.waitInLanes(ctx, t)
	s.breaking.turned = time.Now()
	s.receiver.turn.Add(1) // half of what failed works, and drains while the replicas roll
	if err := s.rollReplicas(ctx); err != nil {
		t.Fatal(err)
	}
	s.publisher.end()
	now := time.Now()
	if err := poll(ctx, stuckAfter, func() error { return s.settled(ctx, now) }); err != nil {
		t.Errorf("a minute after the load: %v", err)
	}
	c := &check{}
	if err := s.account(ctx, c, now); err != nil {
		t.Fatal(err)
	}
	allowed, _ := s.ledger.answered(s.breaking.votes(time.Now()))
	left := &check{standing: c.standing}
	if s.removed(ctx, left); allowed == 0 {
		c.Wrong = append(c.Wrong, left.Wrong...)
	} else {
		t.Logf("the nodes voted anew: NATS may have forgotten the acknowledgements of %d events; %v", allowed, left.Wrong)
	}
	for _, wrong := range slices.Concat(c.Wrong, s.breaking.wrong, s.receiver.complaints()) {
		t.Error(wrong)
	}
	if n := s.ledger.totals().Again; n > allowed {
		t.Errorf("%d events that had had their 2xx came again, %d may have", n, allowed)
	}
	if n := s.delivered(waited); n == 0 {
		t.Error("no lane drained meanwhile: the test shows nothing of lanes")
	}
	t.Log(c.Verdict)
	if t.Failed() {
		s.tellComplaints(t)
	}
}

// votes are the times in which NATS may have forgotten an acknowledgement although nothing
// was broken: on a machine that has far too much to do, nodes miss each other's heartbeats
// and vote anew, which takes them four seconds at least where the same one leads after it.
func (b *breaking) votes(now time.Time) (all []stretch) {
	const vote = 3 * time.Second
	for _, nobody := range slices.Concat(b.consumer.missing(now, vote), b.lanes.missing(now, vote)) {
		all = append(all, stretch{nobody.from.Add(-behindNodes), nobody.to})
	}
	return all
}

// tellComplaints tells what the replicas had to say.
func (s *suite) tellComplaints(t *testing.T) {
	t.Helper()
	for _, r := range s.replicas {
		said, err := r.process.Complaints()
		t.Log(r.name, said, err)
	}
}

// openForTest starts a cluster, three replicas and the load.
func openForTest(ctx context.Context, t *testing.T) *suite {
	t.Helper()
	dir := t.TempDir()
	if err := process.Build(ctx, dir, "github.com/nats-io/nats-server/v2", "github.com/popsee/webhooks/cmd/webhooks"); err != nil {
		t.Fatal(err)
	}
	l := &ledger{name: "t"}
	r, err := newReceiver(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	s := &suite{command: command{Rate: *load, Seed: 1}, rng: rand.New(rand.NewPCG(1, 2)), tools: tools{bin: dir, dir: dir, store: storeOfARound, receiver: r}} //nolint:gosec // chance that can be repeated
	d, err := openClustered(ctx, s.tools, l)
	t.Cleanup(d.close)
	if err != nil {
		t.Fatal(err)
	}
	s.deployment = d
	d.breaking = d.begin(ctx, fault{headless: true})
	t.Cleanup(d.breaking.end)
	d.publisher = startPublisher(ctx, d.js, l, s.Rate, s.Seed)
	return s
}

// waitInLanes waits until something does, and says what.
func (s *suite) waitInLanes(ctx context.Context, t *testing.T) map[int]bool {
	t.Helper()
	const some = 100
	var w whereabouts
	err := poll(ctx, time.Minute, func() (err error) {
		if w, err = s.whereabouts(ctx); err != nil {
			return err
		}
		return unless(len(w.lane) >= some, "hardly anything waits in a lane")
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.lane
}

// delivered counts those of some events that have had a 2xx.
func (s *suite) delivered(some map[int]bool) (n int) {
	for i, e := range s.ledger.known(time.Now()) {
		if some[i] && e.accepted > 0 {
			n++
		}
	}
	return n
}
