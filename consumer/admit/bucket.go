package admit

import "time"

// bucket is an owner's rate limit: tokens come at the rate, one second's worth
// at most is saved up.
type bucket struct {
	tokens float64
	filled time.Time
}

// has refills the bucket and says whether a token is there.
func (b *bucket) has(perSecond float64, now time.Time) bool {
	burst := max(perSecond, 1)
	if b.filled.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(b.tokens+now.Sub(b.filled).Seconds()*perSecond, burst)
	}
	b.filled = now
	return b.tokens >= 1
}

// spend takes a token, if there are any to take.
func (b *bucket) spend() { b.tokens = max(b.tokens-1, 0) }
