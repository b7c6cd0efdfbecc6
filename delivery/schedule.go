package delivery

import (
	"hash/fnv"
	"time"
)

// Lifetime is how long an event that fails by itself is tried again, counted from its parking.
const Lifetime = 72 * time.Hour

// Offsets gives when an event that fails by itself is tried again, counted from its parking, before jitter.
func Offsets() []time.Duration {
	return []time.Duration{
		5 * time.Second,
		30 * time.Second,
		5 * time.Minute,
		30 * time.Minute,
		2 * time.Hour,
		5 * time.Hour,
		10 * time.Hour,
		22 * time.Hour, // from here every 12 h
		34 * time.Hour,
		46 * time.Hour,
		58 * time.Hour,
		70 * time.Hour, // the last; with its jitter 71 h 12 min, inside Lifetime
	}
}

// Next gives the first time strictly after `after` at which the event parked at `parked` is due, or false when there
// is none left. It is a pure function of its arguments: nothing about an event's schedule is stored, and every replica
// computes the same. Times that were missed are not made up for; whoever asks late gets the one that comes next.
func Next(parked time.Time, id string, after time.Time) (due time.Time, ok bool) {
	previous := time.Duration(0)
	for i, offset := range Offsets() {
		due := parked.Add(offset + jitter(id, i, offset-previous))
		if due.After(after) {
			return due, true
		}
		previous = offset
	}
	return time.Time{}, false
}

// jitter spreads what was parked together over a tenth of the wait before it.
func jitter(id string, step int, wait time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(id))
	h.Write([]byte{byte(step)})
	const steps = 1 << 20
	// FNV's high bits hardly change with the last byte written; multiplying by an odd constant carries it there.
	fraction := (h.Sum64() * 0x9e3779b97f4a7c15) >> 44
	return time.Duration(int64(wait/10) / steps * int64(fraction))
}
