package main

import (
	"errors"
	"fmt"
)

// errLimit is why a run ends that takes too long.
var errLimit = errors.New("its time is over")

// cutShort says how far a run has come that did not end by itself.
func (s *suite) cutShort(cause error) error {
	if !errors.Is(cause, errLimit) {
		return cause
	}
	last := "none"
	if n := len(s.rows); n > 0 {
		last = s.rows[n-1].Fault
	}
	return fmt.Errorf("not done after %s (--limit): %d of %d rows are there, the last is %q, and what it and the errors below say may come of being stopped; see which row took long, or give a busy machine a longer --limit",
		s.Limit, len(s.rows), s.wantedRows(), last)
}

// wantedRows is how many rows a whole run has: one a fault, and one for each deployment when
// everything is mended.
func (s *suite) wantedRows() (n int) {
	for _, faults := range [][]fault{clustered(s.Kills), embedded()} {
		if wanted := s.among(faults); len(wanted) > 0 {
			n += s.Rounds*len(wanted) + 1
		}
	}
	return n
}
