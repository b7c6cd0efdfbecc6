package consumer

import (
	"fmt"
	"testing"

	"github.com/popsee/webhooks/events"
)

func TestSeatsAreBoundedForEachSurveyAndInAll(t *testing.T) {
	var s seats
	take := func(survey events.Survey, want bool) {
		t.Helper()
		if got := s.take(survey); got != want {
			t.Errorf("survey %s got a seat: %v, want %v", survey, got, want)
		}
	}
	busy := seatsInAll / seatsOfSurvey
	for i := range busy {
		survey := events.Survey(fmt.Sprint("busy-", i))
		for range seatsOfSurvey {
			take(survey, true)
		}
		take(survey, false)
		if n := s.free(survey); n != 0 {
			t.Errorf("survey %s could have %d more", survey, n)
		}
	}
	take("healthy", false)
	if n := s.free("healthy"); n != seatsOfSurvey {
		t.Errorf("a survey whose events may need no seat could send %d, want %d: the seats that others have taken are nothing to it", n, seatsOfSurvey)
	}
	s.leave("busy-0")
	s.leave("")
	take("healthy", true)
	take("busy-1", false)
}
