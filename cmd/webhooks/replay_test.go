package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/replay"
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
