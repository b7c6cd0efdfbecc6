package main

import (
	"testing"
	"time"
)

func TestTheReplayBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := replayCommand{Events: 20_000, Surveys: 100, Warm: 2 * time.Second, Measure: 2 * time.Second, Rate: 1000, Replayed: 500, Rounds: 1, Sync: "2m"}
	r, err := c.report(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Counts.Delivered; r.Missing > 0 || got != uint64(c.Events) {
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
