package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the heap may grow above what is in use before the collector runs. A share
// of what is in use, as GOGC gives, makes a small heap collect all the time (400 %
// was measured to cost 8 % less CPU) and doubles a large one, such as the index of
// a million waiting events.
const (
	headroom     = 16 << 20 // bytes
	mostPercent  = 400
	leastPercent = 25
	lookEvery    = 5 * time.Second
)

// KeepHeadroom steers the garbage collector until ctx ends, so that the heap has
// about the same room to grow whatever is in use. It does nothing when gogc, the
// value of GOGC, says that somebody else has decided.
func KeepHeadroom(ctx context.Context, gogc string) {
	if gogc != "" {
		return
	}
	before := debug.SetGCPercent(mostPercent)
	defer debug.SetGCPercent(before)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for percent := mostPercent; ; {
		if want := percentFor(live()); want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// percentFor is the GOGC that leaves the headroom above so many bytes in use.
func percentFor(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(headroom*100/live, leastPercent), mostPercent)) //nolint:gosec // at most 400
}

// live is what the last collection found in use.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
