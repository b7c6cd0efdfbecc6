package main

import (
	"slices"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

func TestAnEventIsOverdueInTheLaneOfAnEndpointThatHasWorkedForAMinute(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const works, fails = firstFlap, firstFlap + 1
	for name, c := range map[string]struct {
		e       event
		since   time.Time
		parked  bool
		probe   time.Time // zero: it is not known to fail
		overdue bool
	}{
		"long enough":                       {event{survey: works, acked: ago(5 * time.Minute)}, ago(61 * time.Second), true, time.Time{}, true},
		"its endpoint works for less":       {event{survey: works, acked: ago(5 * time.Minute)}, ago(59 * time.Second), true, time.Time{}, false},
		"it was published later":            {event{survey: works, acked: ago(59 * time.Second)}, ago(5 * time.Minute), true, time.Time{}, false},
		"it was delivered meanwhile":        {event{survey: works, acked: ago(5 * time.Minute), accepted: 1}, ago(2 * time.Minute), true, time.Time{}, false},
		"it is in no lane":                  {event{survey: works, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), false, time.Time{}, false},
		"its endpoint fails":                {event{survey: fails, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), true, time.Time{}, false},
		"its endpoint never works":          {event{survey: firstBusy, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), true, time.Time{}, false},
		"the probe is to come":              {event{survey: works, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), true, now.Add(time.Second), false},
		"the probe was a moment ago":        {event{survey: works, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), true, ago(time.Second), false},
		"the probe should have been before": {event{survey: works, acked: ago(5 * time.Minute)}, ago(2 * time.Minute), true, ago(61 * time.Second), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := whereabouts{owed: map[events.Survey]health.Record{}, lane: map[int]bool{7: c.parked}}
			if !c.probe.IsZero() {
				w.owed[surveyID(c.e.survey)] = health.Record{Since: ago(time.Hour), NextProbe: c.probe}
			}
			got := overdue(map[int]event{7: c.e}, w, func(survey int) bool { return survey != fails }, c.since, now)
			if slices.Contains(got, 7) != c.overdue {
				t.Errorf("overdue are %v, want this one among them: %v", got, c.overdue)
			}
		})
	}
}
