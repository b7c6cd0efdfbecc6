package events_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/popsee/webhooks/events"
)

func TestParseSurvey(t *testing.T) {
	for _, s := range []string{"s", "550e8400-e29b-41d4-a716-446655440000", "A_b-9", strings.Repeat("x", 128)} {
		if got, err := events.ParseSurvey(s); err != nil || string(got) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "a b", "a.b", "*", ">", "é", "a/b", "a:b", "a\n", strings.Repeat("x", 129)} {
		if _, err := events.ParseSurvey(s); err == nil {
			t.Errorf("%q is taken for a survey id", s)
		}
	}
}

func TestEveryNameTakesThePrefix(t *testing.T) {
	eu, err := events.NewNames("eu")
	if err != nil {
		t.Fatal(err)
	}
	names := func(n events.Names) []string {
		return append(append(append(append(n.Subjects(), n.LaneSubjects()...), n.DeadSubjects()...), n.AttemptsSubjects()...),
			n.Stream(), n.State(), n.Endpoints(), n.Health(), n.Replicas(), n.Leases(), n.Replays(), n.Lanes(), n.DeadLetters(), n.Attempts(),
			n.Subject("s1"), n.LaneSubject("s1"), n.LaneShardSubject(3), n.DeadSubject("s1"), n.DeadSubject(""), n.AttemptsSubject(7))
	}
	plain := names(events.Names{})
	want := []string{
		"responses.completed", "responses.completed.*", "webhooks.lanes.*.*", "webhooks.dead.*", "webhooks.attempts.*",
		"RESPONSES", "webhook_state", "webhook_endpoints", "webhook_health", "webhook_replicas", "webhook_shards", "webhook_replays",
		"WEBHOOK_LANES", "WEBHOOK_DEAD_LETTERS", "WEBHOOK_ATTEMPTS",
		"responses.completed.s1", "webhooks.lanes.09.s1", "webhooks.lanes.03.*", "webhooks.dead.s1", "webhooks.dead._", "webhooks.attempts.07",
	}
	if diff := cmp.Diff(want, plain); diff != "" {
		t.Errorf("names on the bus (-want +got):\n%s", diff)
	}
	for i, got := range names(eu) {
		if got != "eu_"+plain[i] && got != "eu."+plain[i] {
			t.Errorf("%s becomes %s with prefix eu", plain[i], got)
		}
	}
	for _, bad := range []string{"a.b", "a b", "*", "é", strings.Repeat("x", 33)} {
		if _, err := events.NewNames(bad); err == nil {
			t.Errorf("prefix %q is taken", bad)
		}
	}
}

func FuzzParseSurvey(f *testing.F) {
	for _, s := range []string{"s1", "", "a.b", strings.Repeat("x", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		survey, err := events.ParseSurvey(s)
		if err != nil {
			return
		}
		var n events.Names
		if strings.Count(n.Subject(survey), ".") != 2 {
			t.Errorf("survey %q makes another subject: %s", s, n.Subject(survey))
		}
		if shard := n.Shard(survey); shard < 0 || shard >= events.Shards {
			t.Errorf("survey %q is in shard %d", s, shard)
		}
	})
}
