package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the heap may grow above what is in use before the collector runs. A share
// of what is in use, as GOGC gives, makes a small heap collect all the time and
// doubles a large one, such as the index of a million waiting events. With the least
// room a replica under full load collected ten times a second, for 13 % of its CPU,
// and one that took 5,000 events a second twice: each collection competes for 25 ms with
// what is being delivered, and half of the slowest hundredth of all events met one.
const (
	leastRoom    = 16 << 20 // bytes
	mostRoom     = 64 << 20 // bytes
	leastUsed    = 4 << 20  // bytes: less in use is reckoned as so much, as the runtime does
	leastPercent = 25
	lookEvery    = time.Second
	oftenEach    = 3  // collections in one look: more room is asked for
	oftenLooks   = 2  // in a row that saw one: likewise
	calmLooks    = 10 // in a row that saw none: the room is given back
)

// KeepHeadroom steers the garbage collector until ctx ends, so that the heap has
// about the same room to grow whatever is in use: little when there is little to
// do, more under load, and what a load needed is given back to the system after it.
// It does nothing when gogc, the value of GOGC, says that somebody else has decided.
func KeepHeadroom(ctx context.Context, gogc string) {
	if gogc != "" {
		return
	}
	room := headroom{bytes: leastRoom}
	percent := percentFor(0, room.bytes)
	before := debug.SetGCPercent(percent)
	defer debug.SetGCPercent(before)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last, _ := heap()
	for {
		collections, used := heap()
		calm := room.look(collections - last)
		last = collections
		if want := percentFor(used, room.bytes); want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
		if calm {
			debug.FreeOSMemory()
			last, _ = heap() // it has collected
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// headroom is what the heap may grow now.
type headroom struct {
	bytes uint64
	often int // looks in a row that saw a collection
	calm  int // looks in a row that saw none
}

// look takes in how often was collected since the last look. It says whether a load
// has just ended.
func (h *headroom) look(collections uint64) (ended bool) {
	if collections > 0 {
		h.calm = 0
		if h.often++; h.often >= oftenLooks || collections >= oftenEach {
			h.often, h.bytes = 0, min(2*h.bytes, mostRoom)
		}
		return false
	}
	h.often = 0
	h.calm++
	ended = h.calm == calmLooks && h.bytes > leastRoom
	if ended {
		h.bytes = leastRoom
	}
	return ended
}

// percentFor is the GOGC that leaves so much room above so many bytes in use.
func percentFor(used, room uint64) int {
	return int(max(room*100/max(used, leastUsed), leastPercent)) //nolint:gosec // at most 1,600
}

// heap is how often was collected, and what GOGC is a share of: what the last collection
// found in use, and what it looked at beside, the stacks of some thousand attempts.
func heap() (collections, used uint64) {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	for i, s := range samples {
		switch {
		case s.Value.Kind() != metrics.KindUint64:
			return 0, 0
		case i > 0:
			used += s.Value.Uint64()
		}
	}
	return samples[0].Value.Uint64(), used
}
