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
// room a replica under full load collected ten times a second, for 13 % of its CPU.
const (
	leastRoom    = 16 << 20 // bytes
	mostRoom     = 64 << 20 // bytes
	mostPercent  = 400
	leastPercent = 25
	lookEvery    = time.Second
	oftenEach    = 3  // collections in lookEvery that ask for more room
	calmLooks    = 10 // with less than one collection each: the room is given back
)

// KeepHeadroom steers the garbage collector until ctx ends, so that the heap has
// about the same room to grow whatever is in use: little when there is little to
// do, more under load, and what a load needed is given back to the system after it.
// It does nothing when gogc, the value of GOGC, says that somebody else has decided.
func KeepHeadroom(ctx context.Context, gogc string) {
	if gogc != "" {
		return
	}
	before := debug.SetGCPercent(mostPercent)
	defer debug.SetGCPercent(before)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	room := headroom{bytes: leastRoom}
	last, _ := heap()
	for percent := mostPercent; ; {
		collections, live := heap()
		calm := room.look(collections - last)
		last = collections
		if want := percentFor(live, room.bytes); want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
		if calm {
			debug.FreeOSMemory()
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
	calm  int // looks in a row that saw no collection
}

// look takes in how often was collected since the last look. It says whether a load
// has just ended.
func (h *headroom) look(collections uint64) (ended bool) {
	if collections > 0 {
		h.calm = 0
		if collections >= oftenEach {
			h.bytes = min(2*h.bytes, mostRoom)
		}
		return false
	}
	h.calm++
	ended = h.calm == calmLooks && h.bytes > leastRoom
	if ended {
		h.bytes = leastRoom
	}
	return ended
}

// percentFor is the GOGC that leaves so much room above so many bytes in use.
func percentFor(live, room uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(room*100/live, leastPercent), mostPercent)) //nolint:gosec // at most 400
}

// heap is how often was collected, and what the last collection found in use.
func heap() (collections, live uint64) {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0, 0
		}
	}
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
