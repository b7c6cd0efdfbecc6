package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
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
	if b, err := json.Marshal(replays.ViewOf(r)); err != nil || !strings.Contains(string(b), `"uncounted":7`) || !strings.Contains(string(b), `"delivered":90`) {
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

// TestARehearsalInWords says of each survey what would become of its events.
func TestARehearsalInWords(t *testing.T) {
	for _, c := range []struct {
		row  replays.SurveyRehearsal
		want string
	}{
		{replays.SurveyRehearsal{Survey: "a", Events: 10, Outcome: replay.Delivered}, "delivered"},
		{replays.SurveyRehearsal{Survey: "b", Events: 20, Outcome: replay.Parked, Owed: 5}, "parked, 5 owed"},
		{replays.SurveyRehearsal{Survey: "c", Events: 30, Outcome: replay.NoWebhook}, "no_webhook"},
		{replays.SurveyRehearsal{Survey: "d", Events: 40, Outcome: replay.Delivered, Owed: 40}, "owed"},
	} {
		if got := wouldBe(c.row); got != c.want {
			t.Errorf("survey %s: %q, want %q", c.row.Survey, got, c.want)
		}
	}
}

func TestHowLongAReplayWouldTake(t *testing.T) {
	surveys := []replays.SurveyRehearsal{{Survey: "big", Events: 64_000, Outcome: replay.Delivered}, {Survey: "dead", Events: 1e6, Outcome: replay.Parked, Limit: 1}}
	for name, c := range map[string]struct {
		e       replays.Estimate
		surveys []replays.SurveyRehearsal
		want    string
	}{
		"at a rate":        {replays.Estimate{Rate: 1000, Seconds: 64}, surveys, "at 1000 events a second that takes 1 min 4 s"},
		"like another":     {replays.Estimate{Seconds: 90, Like: "fast"}, surveys, "takes 1 min 30 s if it goes as replay fast did"},
		"nobody knows":     {replays.Estimate{}, surveys, "survey big, which has the most to send, takes 1 min 40 s where one replica runs"},
		"nothing is sent":  {replays.Estimate{}, surveys[1:], "not known before one has run"},
		"an owner's limit": {replays.Estimate{Rate: 1000, Seconds: 64}, []replays.SurveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}}, "the last of survey s reach it after 3 min 20 s"},
		"a limit in vain":  {replays.Estimate{Rate: 0.01, Seconds: 1e4}, []replays.SurveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}}, "takes 2 h 46 min, longer while the live consumer is behind"},
	} {
		lines := timeLines(c.e, c.surveys)
		if said := strings.Join(lines, "\n"); !strings.Contains(said, c.want) || strings.Contains(said, "dead") {
			t.Errorf("%s: %s", name, said)
		}
	}
	if n := len(timeLines(replays.Estimate{Rate: 0.01, Seconds: 1e4}, []replays.SurveyRehearsal{{Survey: "s", Events: 100, Limit: 0.5, Outcome: replay.Delivered}})); n != 1 {
		t.Errorf("a limit that holds nothing up is told of: %d lines", n)
	}
}
