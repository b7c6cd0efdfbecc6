package main

import (
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/replay"
)

// soonAnswer is how soon an endpoint is taken to answer, where that has to be said
// with an example.
const soonAnswer = 100 * time.Millisecond

// timeLines say how long it takes, and what bounds it.
func timeLines(e replays.Estimate, surveys []replays.SurveyRehearsal) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	longest := spoken(seconds(e.Seconds))
	switch {
	case e.Rate > 0:
		say("at %g events a second that takes %s, longer while the live consumer is behind", e.Rate, longest)
	case e.Like != "":
		say("at full speed that takes %s if it goes as replay %s did, the fastest so far; longer while the live consumer is behind", longest, e.Like)
	default:
		say("how long that takes at full speed is not known before one has run: the endpoints bound it, each with %d requests at once from a replica, and live events, which go first", admit.MaxBudget)
		if big := most(surveys); big.Events > admit.MaxBudget {
			say("survey %s, which has the most to send, takes %s where one replica runs and its endpoint answers within %s",
				big.Survey, spoken(time.Duration(big.Events)*soonAnswer/admit.MaxBudget), soonAnswer) //nolint:gosec // far from what a duration holds
		}
	}
	if slow, takes := slowestOf(surveys); takes > e.Seconds {
		over := "what is over that waits in its lane, and what finds no room there is left out: send it again by itself"
		if len(surveys) == 1 {
			over = "what is over that waits"
		}
		say("the last of survey %s reach it after %s: its owner allows %g a second; %s", slow.Survey, spoken(seconds(takes)), slow.Limit, over)
	}
	return lines
}

// most is the survey with the most to send.
func most(surveys []replays.SurveyRehearsal) (big replays.SurveyRehearsal) {
	for _, s := range surveys {
		if s.Outcome == replay.Delivered && s.Events > big.Events {
			big = s
		}
	}
	return big
}

// slowestOf is the survey that its owner's limit holds up the longest, and for how
// many seconds.
func slowestOf(surveys []replays.SurveyRehearsal) (slow replays.SurveyRehearsal, takes float64) {
	for _, s := range surveys {
		if s.Outcome == replay.Delivered && s.Limit > 0 && float64(s.Events)/s.Limit > takes {
			slow, takes = s, float64(s.Events)/s.Limit
		}
	}
	return slow, takes
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
