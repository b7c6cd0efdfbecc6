package consumer

import (
	"sync"

	"github.com/popsee/webhooks/events"
)

// The seats on which events of replays wait in hand for endpoints that are busy. An
// event in hand holds a slot that all jobs of this replica share, and an owner's limit
// or a slow endpoint may keep it for hours: so one survey's have few seats, and half of
// the slots are never waited on.
const (
	seatsInAll    = 256 // half of replaySlots
	seatsOfSurvey = 64  // an eighth
)

// seats counts those that are taken, of all jobs of this replica together. The zero
// value is ready.
type seats struct {
	mu    sync.Mutex // guards the rest
	all   int
	taken map[events.Survey]int
}

// take takes a seat for a survey's event, and says whether there was one.
func (s *seats) take(survey events.Survey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= seatsInAll || s.taken[survey] >= seatsOfSurvey {
		return false
	}
	if s.taken == nil {
		s.taken = map[events.Survey]int{}
	}
	s.all++
	s.taken[survey]++
	return true
}

// leave gives a seat back; one of no survey is none.
func (s *seats) leave(survey events.Survey) {
	if survey == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.taken[survey]--; s.taken[survey] == 0 {
		delete(s.taken, survey)
	}
}

// free is how many more of a survey's events could sit down, as far as it alone is
// concerned. That others have taken all seats there are says nothing of an endpoint that
// may not need any.
func (s *seats) free(survey events.Survey) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seatsOfSurvey - s.taken[survey]
}
