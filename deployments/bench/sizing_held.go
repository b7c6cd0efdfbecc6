package main

import (
	"fmt"
	"time"

	"github.com/popsee/webhooks/consumer/lanes"
)

// held is one figure that the formula computes and a benchmark has measured.
type held struct {
	what     string
	computed float64
	measured float64
	where    string  // in benchmarks.md, or in scaling.md
	least    float64 // that may have been measured, of what is computed
	most     float64
}

// allHeld are the figures of the formula that were measured, in the same conditions.
// Whoever measures again writes down here what came out.
func allHeld() []held {
	const (
		sixHours = 6 * time.Hour
		dead     = 100_000.0 // events that came for the dead endpoint of the benchmark Recovery
	)
	one := waitsFor(1, dead/sixHours.Seconds(), sixHours, bodySize)
	each := demand{rate: 1, latency: 50 * time.Millisecond}.live() // attempts under way for one event a second
	list := []held{
		{"probes of an endpoint that is dead for 6 h", probesWithin(sixHours), 84, "Recovery", 0.9, 1.1},
		{"events in its lane, of 100,000", one.events, 50_000, "Recovery", 1, 1},
		{"events owed to it", one.owed, 50_000, "Recovery", 1, 1},
		{"its lane drains, where it answers after 20 ms, events/s", laneDrains(20 * time.Millisecond), 3149, "Recovery", 0.9, 1},
	}
	// A replica was full there: what is planned with is less by a margin that must be there.
	for _, r := range []struct{ replicas, measured float64 }{{1, 298}, {2, 600}, {4, 1173}} {
		list = append(list, held{fmt.Sprintf("16 attempts under way in each of %.0f, endpoints of 50 ms, events/s", r.replicas), r.replicas * 16 / each, r.measured, "Do replicas add up?", filled, 1})
	}
	return append(list,
		held{"one stream with three synced copies, consumed meanwhile, events/s (the better way)", deploymentMax, 18198, "Stream", 1, 2},
		held{"memory of 1,000,000 waiting events, MB (the most)", waitingBytes, 68, "Memory", 0.5, 1},
		held{"parking, CPU µs an event of the service (the dearest round)", parkingCPU * 1e6, 80, "Parking", 0.5, 1},
		held{"parked in 64 lanes, events/s (the slowest round)", parkedMost, 9371, "Parking", 1, 1.3},
		held{"drained from 64 lanes, events/s (the slowest round)", drainedMost, 9576, "Parking", 1, 1.3},
		held{"HTTPS on kept connections, CPU µs an event of the service", serviceCPU * 1e6, 73.6, "HTTPS", 0.5, 1},
	)
}

// probesWithin is how often an endpoint that fails is probed: the wait before the next
// probe doubles from the first one on, and jitter takes a tenth of each.
func probesWithin(lasts time.Duration) (n float64) {
	for at, wait := time.Duration(0), lanes.FirstWait; ; wait = min(2*wait, probeWait) {
		if at += wait / 10 * 9; at > lasts {
			return n
		}
		n++
	}
}

func heldTable() string {
	b := rows("what", "the formula says", "measured", "where")
	for _, h := range allHeld() {
		b.add(h.what, thousands(h.computed), thousands(h.measured), h.where)
	}
	return b.String()
}
