package replays

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/replay"
)

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
	v := Rehearsal{}
	for _, row := range []SurveyRehearsal{
		{Survey: "a", Events: 10, Outcome: replay.Delivered},
		{Survey: "b", Events: 20, Outcome: replay.Parked, Owed: 5},
		{Survey: "c", Events: 30, Outcome: replay.NoWebhook},
		{Survey: "d", Events: 40, Outcome: replay.Delivered, Owed: 40},
	} {
		v.take(row)
	}
	want := Rehearsal{Events: 100, Sent: 10, Parked: 15, Owed: 45, NoWebhook: 30, Endpoints: 1, Surveys: v.Surveys}
	if d := cmp.Diff(want, v, cmp.AllowUnexported(Rehearsal{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTheFastestReplayAtFullSpeedTellsHowLong(t *testing.T) {
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
	gone := done("gone", 0, 2000, 1500, time.Second) // what has left the event stream takes no time
	gone.Gone = 500
	if _, perSecond := fullSpeed([]replay.Record{gone}); perSecond != 1500 {
		t.Errorf("it has sent %g a second, want 1500", perSecond)
	}
}
