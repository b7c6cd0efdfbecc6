package main

import (
	"slices"
	"time"
)

// stretch is a time from one moment to another.
type stretch struct{ from, to time.Time }

func (s stretch) holds(t time.Time) bool { return !t.Before(s.from) && !t.After(s.to) }

func (s stretch) length() time.Duration { return s.to.Sub(s.from) }

// merged are the same times, in order, none of them twice.
func merged(all []stretch) (one []stretch) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b stretch) int { return a.from.Compare(b.from) })
	for _, s := range all {
		if n := len(one); n > 0 && !s.from.After(one[n-1].to) {
			if s.to.After(one[n-1].to) {
				one[n-1].to = s.to
			}
			continue
		}
		one = append(one, s)
	}
	return one
}
