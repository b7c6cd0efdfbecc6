package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// TestCountsThatDoNotAddUpAreSaidEverywhere looks at a replay that is done, of whose
// events a replica took seven counts along.
func TestCountsThatDoNotAddUpAreSaidEverywhere(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := replay.Record{ID: "k7x2m4qa", Start: 101, End: 1040, Events: 100, State: replay.Done, Since: now.Add(-time.Hour), Counts: replay.Counts{Delivered: 90, Parked: 3}}
	said := fmt.Sprint(replayLines(r, now))
	for _, want := range []string{"{not counted 7: settled by a replica that ended", "webhooks attempts --replay k7x2m4qa", "webhooks audit --since 101 --until 1040"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in:\n%s", want, said)
		}
	}
	if got := doneWords(r); got != "100%, 7 not counted" {
		t.Errorf("the list says %q", got)
	}
	if b, err := json.Marshal(viewOf(r)); err != nil || !strings.Contains(string(b), `"uncounted":7`) || !strings.Contains(string(b), `"delivered":90`) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
	if !settledDown(r, now) || settledDown(r, r.Since.Add(time.Second)) {
		t.Error("whoever follows waits for late counts, and not for ever")
	}
	if said := fmt.Sprint(replayLines(r, r.Since.Add(time.Second))); !strings.Contains(said, "7: replicas are still writing") {
		t.Errorf("a moment after the end: %s", said)
	}
	r.Counts.Delivered = 97
	if said := fmt.Sprint(replayLines(r, now)); strings.Contains(said, "not counted") || doneWords(r) != "100%" {
		t.Errorf("all is counted: %s, %s", said, doneWords(r))
	}
}

// TestWhatIsGoneIsSaidEverywhere looks at a replay that runs, of which half has left
// the event stream: what is gone takes no time.
func TestWhatIsGoneIsSaidEverywhere(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := replay.Record{ID: "k7x2m4qa", Start: 1, End: 2000, Events: 1000, State: replay.Running, Since: now, Counts: replay.Counts{Delivered: 100}, Gone: 500}
	f := &following{}
	f.advance(r, now)
	r.Counts.Delivered = 200
	f.advance(r, now.Add(time.Second))
	if got := f.words(); got != "100/s, 3 s left, delivered 200, parked 0, skipped 0, gone 500" {
		t.Errorf("whoever follows reads %q", got)
	}
	if got := doneWords(r); got != "70%, 500 gone" {
		t.Errorf("the list says %q", got)
	}
	if said := fmt.Sprint(replayLines(r, now)); !strings.Contains(said, "700 of 1000 (70%)") || !strings.Contains(said, "{gone 500: they left the event stream") {
		t.Errorf("it is shown as %s", said)
	}
	r.Gone = 5000 // a stream that lost more than it was about
	f.advance(r, now.Add(2*time.Second))
	if got, words := doneWords(r), f.words(); got != "100%, 5000 gone" || strings.Contains(words, "left") {
		t.Errorf("the list says %q, whoever follows reads %q", got, words)
	}
	r.State = replay.Done
	if _, perSecond := fullSpeed([]replay.Record{{Events: 2000, Gone: 500, Counts: replay.Counts{Delivered: 1500}, State: replay.Done, At: now, Since: now.Add(time.Second)}}); perSecond != 1500 {
		t.Errorf("it has sent %g a second, want 1500", perSecond)
	}
}

func TestWhatWasLeftOutIsToldInItsOrder(t *testing.T) {
	r := replay.Record{End: 900, LeftOut: map[events.Survey]uint64{}}
	for i := range uint64(12) {
		r.LeftOut[events.Survey(fmt.Sprint("s", i))] = 500 - i
	}
	want := "webhooks replay start --survey s11 --since 489 --until 900 ; webhooks replay start --survey s10 --since 490 --until 900 ; " +
		"webhooks replay start --survey s9 --since 491 --until 900 ; and so on: 9 surveys more, which --json names"
	if said := leftOut(r); !strings.HasSuffix(said, want) {
		t.Errorf("it says %q", said)
	}
}

// TestWhatARehearsalExpects is decided as the service does before it tries.
func TestWhatARehearsalExpects(t *testing.T) {
	now := time.Now()
	well := endpoints.View{Enabled: true, Revision: 3}
	with := func(change func(v *endpoints.View)) endpoints.View {
		v := well
		change(&v)
		return v
	}
	failing := health.Record{Since: now}
	for name, c := range map[string]struct {
		view endpoints.View
		want replay.Outcome
	}{
		"it works":          {well, replay.Delivered},
		"switched off":      {with(func(v *endpoints.View) { v.Enabled = false }), replay.Parked},
		"it cannot be used": {with(func(v *endpoints.View) { v.Invalid = "no url" }), replay.Parked},
		"it fails":          {with(func(v *endpoints.View) { v.Health = &failing }), replay.Parked},
		"it is disabled": {with(func(v *endpoints.View) {
			v.Health = &health.Record{Since: now, Disabled: &health.Disabled{Revision: 3}}
		}), replay.Parked},
		"it was changed since": {with(func(v *endpoints.View) {
			v.Health = &health.Record{Since: now, Disabled: &health.Disabled{Revision: 2}}
		}), replay.Delivered},
		"it is only owed to": {with(func(v *endpoints.View) { v.Health = &health.Record{OwedFrom: 7} }), replay.Delivered},
	} {
		if got := outcomeAt(c.view); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestARehearsalAddsUp has every event in one of its four sums.
func TestARehearsalAddsUp(t *testing.T) {
	v := rehearsal{}
	for _, row := range []surveyRehearsal{
		{Survey: "a", Events: 10, Outcome: replay.Delivered},
		{Survey: "b", Events: 20, Outcome: replay.Parked, Owed: 5},
		{Survey: "c", Events: 30, Outcome: replay.NoWebhook},
		{Survey: "d", Events: 40, Outcome: replay.Delivered, Owed: 40},
	} {
		v.take(row)
	}
	want := rehearsal{Events: 100, Sent: 10, Parked: 15, Owed: 45, NoWebhook: 30, Endpoints: 1, Surveys: v.Surveys}
	if d := cmp.Diff(want, v, cmp.AllowUnexported(rehearsal{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var words []string
	for _, row := range v.Surveys {
		words = append(words, row.words())
	}
	if got := strings.Join(words, " | "); got != "delivered | parked, 5 owed | no_webhook | owed" {
		t.Errorf("in words: %s", got)
	}
}

func TestHowLongAReplayWouldTake(t *testing.T) {
	began := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	done := func(id string, rate float64, events, delivered uint64, took time.Duration) replay.Record {
		return replay.Record{ID: id, Rate: rate, Events: events, Counts: replay.Counts{Delivered: delivered}, State: replay.Done, At: began, Since: began.Add(took)}
	}
	id, perSecond := fullSpeed([]replay.Record{
		done("slow", 0, 10_000, 10_000, time.Minute),
		done("fast", 0, 10_000, 9_000, 10*time.Second),
		done("paced", 1000, 1e6, 1e6, time.Second),
		done("passed-over", 0, 1e6, 3, time.Second),
		done("few", 0, 3, 3, time.Millisecond),
		{ID: "running", Events: 1e6, Counts: replay.Counts{Delivered: 1e6}, State: replay.Running, At: began, Since: began.Add(time.Second)},
	})
	if id != "fast" || perSecond != 1000 {
		t.Errorf("as fast as %q, %g a second; want fast, 1000", id, perSecond)
	}
	surveys := []surveyRehearsal{{Survey: "big", Events: 64_000, Outcome: replay.Delivered}, {Survey: "dead", Events: 1e6, Outcome: replay.Parked, Limit: 1}}
	for name, c := range map[string]struct {
		e       estimate
		surveys []surveyRehearsal
		want    string
	}{
		"at a rate":        {estimate{Rate: 1000, Seconds: 64}, surveys, "at 1000 events a second that takes 1 min 4 s"},
		"like another":     {estimate{Seconds: 90, Like: "fast"}, surveys, "takes 1 min 30 s if it goes as replay fast did"},
		"nobody knows":     {estimate{}, surveys, "survey big, which has the most to send, takes 1 min 40 s where one replica runs"},
		"nothing is sent":  {estimate{}, surveys[1:], "not known before one has run"},
		"an owner's limit": {estimate{Rate: 1000, Seconds: 64}, []surveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}}, "the last of survey s reach it after 3 min 20 s"},
		"a limit in vain":  {estimate{Rate: 0.01, Seconds: 1e4}, []surveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}}, "takes 2 h 46 min, longer while the live consumer is behind"},
	} {
		lines := c.e.timeLines(c.surveys)
		if said := strings.Join(lines, "\n"); !strings.Contains(said, c.want) || strings.Contains(said, "dead") {
			t.Errorf("%s: %s", name, said)
		}
	}
	if n := len((estimate{Rate: 0.01, Seconds: 1e4}).timeLines([]surveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}})); n != 1 {
		t.Errorf("a limit that holds nothing up is told of: %d lines", n)
	}
}
