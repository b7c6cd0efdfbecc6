package replay

import (
	"sync/atomic"

	"golang.org/x/time/rate"
)

const (
	// mostPulled is what one pull asks for: more would hold slots that another job
	// could use, fewer cost a round trip too often.
	mostPulled = 100
	// pullsPerSecond is how finely a rate is cut into pulls: what was pulled holds slots
	// until its turn comes. Begun together, it would be a burst that live events feel.
	pullsPerSecond = 50

	behindFrom = 1000 // live events that no replica was given yet: then replays wait
	behindTo   = 100  // until there are so few
)

// share is one replica's part of a rate; 0 stays without a limit.
func share(perSecond float64, replicas int) rate.Limit {
	if perSecond == 0 {
		return rate.Inf
	}
	return rate.Limit(perSecond / float64(max(replicas, 1)))
}

// pullSize is how many events are pulled at once at a limit.
func pullSize(limit rate.Limit) int {
	if limit == rate.Inf {
		return mostPulled
	}
	return min(max(int(float64(limit)/pullsPerSecond), 1), mostPulled)
}

// startsFor is how fast what was pulled is begun: twice as fast as it is pulled, or what
// was pulled in a burst would stay in hand.
func startsFor(limit rate.Limit) rate.Limit {
	if limit == rate.Inf {
		return limit
	}
	return 2 * limit
}

// Yielding says whether replays have to wait for live traffic. The zero value says
// no. Several may look at once: each saw the lag itself, and the last word counts.
type Yielding struct{ behind atomic.Bool }

// Behind takes in how many live events wait to be given to a replica, and says
// whether replays wait: they begin to at one bound and end at a lower one, so that
// they do not do so by turns.
func (y *Yielding) Behind(lag uint64) bool {
	behind := lag > behindFrom || y.behind.Load() && lag > behindTo
	y.behind.Store(behind)
	return behind
}

// Now is what Behind said last.
func (y *Yielding) Now() bool { return y.behind.Load() }
