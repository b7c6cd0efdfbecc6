package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// park parks an event as a replica would.
func (s resting) park(t *testing.T, w lanes.Waiting) {
	t.Helper()
	w.Parked = time.Now()
	if w.Published.IsZero() {
		w.Published = time.Now()
	}
	must(t, lanes.Park(t.Context(), s.js, s.names, w))
}

func TestLanesShowWhatWaitsWhereAndWhy(t *testing.T) {
	s := atRest(t)
	out, _, _ := s.command(t, "lanes")
	wantSaid(t, out, "nothing waits, and no endpoint is known to fail")
	now := time.Now()
	for i, survey := range []events.Survey{"probing", "draining", "off", "removed", "disabled"} {
		if survey != "removed" {
			s.endpointAt(t, survey, survey != "off")
		}
		s.park(t, lanes.Waiting{
			Survey: survey, EventID: "r1", Source: uint64(i + 1), Published: now.Add(time.Duration(i-10) * time.Minute), Reason: "5xx", Body: make([]byte, 2048),
		})
	}
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		must(t, b.Failed(ctx, "probing", health.Failure{At: now.Add(-time.Hour), Reason: "timeout", NextProbe: now.Add(time.Hour)}))
		must(t, b.Disable(ctx, "disabled", health.Disabled{At: now, By: health.ByEndpoint, Why: "it answered 410 Gone", Revision: 9}, "410"))
		_, err := b.Owe(ctx, "disabled", health.Promise{From: 20113, Until: now}, health.Stream{At: time.Now(), First: 1, Last: 20113})
		must(t, err)
		_, err = b.Owe(ctx, "owed", health.Promise{From: 7, Until: now}, health.Stream{At: time.Now(), First: 1, Last: 7})
		return err
	})
	kv, err := s.bucket(t.Context(), s.names.Leases())
	must(t, err)
	_, err = kv.PutString(t.Context(), fmt.Sprintf("%02d", s.names.Shard("probing")), `{"replica":"host-1"}`)
	must(t, err)
	out, errw, code := s.command(t, "lanes")
	if code != exitOK || errw != "" {
		t.Errorf("code %d: %s", code, errw)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")[1:]
	if len(lines) != 6 {
		t.Fatalf("%d lanes, want 6:\n%s", len(lines), out)
	}
	for i, want := range [][]string{
		{"probing", "1", "2KiB", "10 min", "probing", "timeout, fails since 1 h", "in 59 min", "host-1"},
		{"draining", "draining", "5xx", "nobody"},
		{"off", "switched off", "by its owner"},
		{"removed", "no endpoint", "its events become dead letters"},
		{"disabled", "disabled", "it answered 410 Gone", "20113"},
		{"owed", "0", "owed", "7"},
	} {
		wantSaid(t, lines[i], want...)
	}
	out, _, _ = s.command(t, "lanes", "--limit", "2")
	wantSaid(t, out, "and 4 lanes more")
	out, _, _ = s.command(t, "lanes", "--survey", "disabled", "--json")
	wantSaid(t, out, `{"survey":"disabled","shard":`, `"waiting_events":1,"waiting_bytes":2048`, `"state":"disabled"`, `"owed_from":20113`)
	if strings.Count(out, "\n") != 1 {
		t.Errorf("more than one lane:\n%s", out)
	}
	_, _, code = s.command(t, "lanes", "--survey", "a b")
	if code != exitUsage {
		t.Errorf("code %d for a survey that cannot be", code)
	}
}

func TestLanesAreOrderedByWhatWaitsLongest(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }
	rows := []laneRow{
		{Survey: "fails later", Since: at(2)},
		{Survey: "young", Events: 1, Oldest: at(9)},
		{Survey: "fails long", Since: at(1)},
		{Survey: "old", Events: 5, Oldest: at(3)},
		{Survey: "also old", Events: 1, Oldest: at(3)},
	}
	slices.SortFunc(rows, waitsLonger)
	var got []string
	for _, r := range rows {
		got = append(got, string(r.Survey))
	}
	if want := "also old, old, young, fails long, fails later"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// announce makes a replica live that holds some shards.
func (s resting) announce(t *testing.T, id string, shards ...int) {
	t.Helper()
	kv, err := s.bucket(t.Context(), s.names.Replicas())
	must(t, err)
	_, err = kv.PutString(t.Context(), id, fmt.Sprintf(`{"id":%q,"version":"1.2.3","started":%q}`, id, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
	must(t, err)
	kv, err = s.bucket(t.Context(), s.names.Leases())
	must(t, err)
	for _, shard := range shards {
		_, err = kv.PutString(t.Context(), fmt.Sprintf("%02d", shard), fmt.Sprintf(`{"replica":%q}`, id))
		must(t, err)
	}
	_, err = leases.Look(t.Context(), s.js, s.names)
	must(t, err)
}
