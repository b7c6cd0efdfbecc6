package main

import (
	"context"
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

// healthLine is one thing to say about an endpoint's health.
type healthLine struct{ name, value string }

// healthLines says what is known of a survey's endpoint in a revision; nothing when it is
// well.
func healthLines(survey string, r health.Record, revision uint64, now time.Time) (lines []healthLine) {
	say := func(name, format string, args ...any) {
		lines = append(lines, healthLine{name, fmt.Sprintf(format, args...)})
	}
	if r.Disabled != nil {
		name := "disabled"
		if !r.DisabledAt(revision) {
			name = "was disabled" // its lane's owner has not seen the change yet
		}
		say(name, "%s, by %s: %s", ago(r.Disabled.At, now), endpoints.ByWhom(r.Disabled.By), r.Disabled.Why)
	}
	if r.Failing() {
		say("failing", "since %s, last: %s", ago(r.Since, now), r.Reason)
		say("tried in vain", "%s since, the one of that moment included; with those before it: webhooks attempts --survey %s --failed", count(r.Failures, "time"), survey)
		say("last failure", "%s", ago(r.LastFailure, now))
	}
	if r.Failing() && !r.NextProbe.IsZero() {
		say("next probe", "%s", ahead(r.NextProbe, now))
	}
	if !r.Recovered.IsZero() {
		say("works again", "since %s; events of before still wait", ago(r.Recovered, now))
	}
	if r.OwedFrom != 0 {
		say("owed", "from sequence %d on: what is published before %s is brought into its lane from the event stream", r.OwedFrom, shortTime(r.OwedUntil))
	}
	return lines
}

// unwell are the records of all endpoints with which something is wrong.
func (s *session) unwell(ctx context.Context) (map[events.Survey]health.Record, error) {
	return endpoints.Unwell(ctx, s.js, s.names)
}
