package main

import (
	"fmt"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/consumer/replay"
)

// wouldBe is the outcome of a survey's events for people.
func wouldBe(r replays.SurveyRehearsal) string {
	switch r.Owed {
	case 0:
		return string(r.Outcome)
	case r.Events:
		return string(replay.Owed)
	default:
		return fmt.Sprintf("%s, %d owed", r.Outcome, r.Owed)
	}
}

// rehearsedMost is how many surveys are listed for people.
const rehearsedMost = 20

func printRehearsal(w *world, v *replays.Rehearsal) {
	t := w.newTable("SURVEY", "EVENTS", "HOST", "STATE", "WOULD BE")
	for _, row := range v.Surveys[:min(len(v.Surveys), rehearsedMost)] {
		t.AppendRow([]any{row.Survey, row.Events, row.Host, row.State, wouldBe(row)})
	}
	if t.Length() > 0 {
		t.Render()
	}
	if left := len(v.Surveys) - rehearsedMost; left > 0 {
		w.printf("and %s more; see all with --json\n", count(left, "survey"))
	}
	w.printf("sequences %d to %d: %s of %s; as things stand:\n", v.Start, v.End, count(v.Events, "event"), count(len(v.Surveys), "survey"))
	for _, l := range []struct {
		n          uint64
		name, what string
	}{
		{v.Sent, "delivered", "to " + count(v.Endpoints, "endpoint") + ", as far as they accept them"},
		{v.Parked, "parked", "their endpoints fail, are disabled or cannot be used: they wait in their lanes, which leave half of their room to live events; what finds none is left out"},
		{v.Owed, "owed", "their lanes bring them by themselves, as endpoints work again"},
		{v.NoWebhook, "no webhook", "their surveys have none: they are passed over"},
		{v.NoEvents, "dead", "they can never be delivered: dead letters"},
	} {
		if l.n > 0 || l.name == "delivered" {
			w.printf("%-12s %d: %s\n", l.name, l.n, l.what)
		}
	}
	for _, line := range timeLines(v.Estimate, v.Surveys) {
		w.printf("%s\n", line)
	}
	w.printf("nothing was started\n")
}
