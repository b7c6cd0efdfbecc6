package main

import (
	"fmt"
	"time"
)

// spoken is a duration for people: two units at most, none that says nothing.
func spoken(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Second:
		return "less than a second"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "min")
	default:
		return two(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

// two is a duration in a large unit and what is left in a small one.
func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return s
}

// ago is a moment that has passed, with how long that is.
func ago(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", shortTime(t), spoken(now.Sub(t)))
}

// when it comes, or that it is due already.
func ahead(t, now time.Time) string {
	if !t.After(now) {
		return shortTime(t) + " (now due)"
	}
	return fmt.Sprintf("%s (in %s)", shortTime(t), spoken(t.Sub(now)))
}

// count is a number with its noun.
func count[N int | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
