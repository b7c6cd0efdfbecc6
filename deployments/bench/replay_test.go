package main

import (
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/replay"
)

func TestTheReplayBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := replayCommand{Events: 20_000, Surveys: 100, Warm: 2 * time.Second, Measure: 2 * time.Second, Rate: 1000, Replayed: 500, Rounds: 1, Sync: "2m"}
	r, err := c.report(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Counts.Delivered; r.Missing > 0 || r.Unknown > 0 || got != uint64(c.Events) {
		t.Errorf("%d events were replayed and %d are missing, want all %d", got, r.Missing, c.Events)
	}
	b := r.Beside[0]
	if b.Quiet.Healthy != b.QuietP.Healthy || b.With.Healthy != b.WithP.Healthy {
		t.Errorf("%d of %d live events came alone, %d of %d beside a replay", b.Quiet.Healthy, b.QuietP.Healthy, b.With.Healthy, b.WithP.Healthy)
	}
	if b.Sent == 0 {
		t.Error("nothing was replayed beside the live events")
	}
	t.Log("\n" + c.text(r))
}

// TestAnEventReplayedTwiceMakesUpForNone has a replay send one of two events twice, and
// the other not at all.
func TestAnEventReplayedTwiceMakesUpForNone(t *testing.T) {
	s := scenario{Name: "replay", Surveys: 1, Backlog: true, Events: 2}
	a := newArrivals(s)
	for _, c := range []struct {
		event    int
		replayed bool
	}{{0, false}, {1, false}, {1, false}, {0, true}, {0, true}} {
		body := newEvent(c.event, 0, a.began)
		if err := a.add(a.began, 0, healthy, body, c.replayed); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.sum(a.began); got.Replayed != 1 || got.Duplicates != 3 || got.Healthy != 2 {
		t.Errorf("%d events came in the replay, %d had come before, %d came; want 1, 3, 2", got.Replayed, got.Duplicates, got.Healthy)
	}
}

// TestAReplayThatWasNotWholeFailsTheBenchmark whoever says so: the receiver, or the
// replay itself.
func TestAReplayThatWasNotWholeFailsTheBenchmark(t *testing.T) {
	whole := replayReport{Events: 10, Live: 100, Again: 100, Counts: replay.Counts{Delivered: 10}, Beside: []besideRound{{Quiet: tally{P99: 1}, With: tally{P99: 1}}}}
	if err := whole.verdict(); err != nil {
		t.Errorf("a whole replay: %v", err)
	}
	for said, change := range map[string]func(r *replayReport){
		"1 events did not come again": func(r *replayReport) { r.Missing = 1 },
		"Delivered:9":                 func(r *replayReport) { r.Counts = replay.Counts{Delivered: 9, LeftOut: 1} },
		"and nothing of 1":            func(r *replayReport) { r.Unknown = 1 },
	} {
		r := whole
		change(&r)
		if err := r.verdict(); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("it says %v, want %q", err, said)
		}
	}
}
