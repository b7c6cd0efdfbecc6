package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestStallsAreShortAndAboutAsLongAsALeaseIsGood(t *testing.T) {
	const of = 3
	for seed := range uint64(1000) {
		s := &suite{rng: rand.New(rand.NewPCG(seed, 2))} //nolint:gosec // chance that can be repeated
		var all [of]time.Duration
		for i := range all {
			all[i] = s.stall(i, of)
		}
		if all[0] < leastStall || all[0] > 5*time.Second || all[1] < 4*time.Second || all[1] > 9*time.Second || all[2] < 8*time.Second || all[2] > mostStall {
			t.Fatalf("seed %d: %v", seed, all)
		}
	}
	if mostStall < leastPause {
		t.Errorf("nothing stands still for %s to %s", mostStall, leastPause)
	}
	if mostStall <= max(leaseGood, ackWait) || leastStall > time.Second || mostPause < 40*time.Second {
		t.Errorf("stalls of %s to %s and pauses of %s to %s leave something out", leastStall, mostStall, leastPause, mostPause)
	}
}
