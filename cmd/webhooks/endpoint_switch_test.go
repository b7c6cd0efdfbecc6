package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/health"
)

// disabled gives survey s1 an endpoint that the service has disabled, with events
// owed from a sequence on.
func (s resting) disabled(t *testing.T, owed uint64) {
	t.Helper()
	s.endpointAt(t, "s1", true)
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		now := time.Now().UTC()
		if err := b.Failed(ctx, "s1", health.Failure{At: now.Add(-5 * 24 * time.Hour), Reason: "timeout", NextProbe: now}); err != nil {
			return err
		}
		if err := b.Disable(ctx, "s1", health.Disabled{At: now, By: health.ByService, Why: "it failed for 5 days: timeout", Revision: 1}, "timeout"); err != nil {
			return err
		}
		if owed == 0 {
			return nil
		}
		_, err := b.Owe(ctx, "s1", health.Promise{From: owed, Until: now.Add(time.Minute)}, health.Stream{At: time.Now(), First: 1, Last: owed})
		return err
	})
}

func TestAnEndpointThatTheServiceDisabledIsEnabledByANewRevision(t *testing.T) {
	s := atRest(t)
	s.disabled(t, 1)
	out, _, _ := s.command(t, "endpoint", "get", "s1")
	wantSaid(t, out, "state          disabled by the service", "by the service: it failed for 5 days: timeout",
		"failing        since ", "(5 d ago), last: timeout", "tried in vain  2 times since, the one of that moment included; with those before it: webhooks attempts --survey s1 --failed",
		"owed           from sequence 1 on: what is published before ")
	if strings.Contains(out, "next probe") {
		t.Errorf("a disabled endpoint is not probed:\n%s", out)
	}
	out, _, _ = s.command(t, "endpoint", "get", "s1", "--json")
	wantSaid(t, out, `"health":{"format":"1","failing_since":`, `"disabled":{"at":`)
	out, _, _ = s.command(t, "endpoint", "list")
	wantSaid(t, out, "disabled by the service")
	out, _, code := s.command(t, "endpoint", "enable", "s1")
	wantSaid(t, out, "s1 is enabled (revision 2)", "it was disabled by the service since ", "owed since sequence 1: sent now, from its lane, once it accepts")
	if code != exitOK {
		t.Errorf("code %d", code)
	}
	// Its lane's owner has not seen that yet: the record says which revision it is about.
	out, _, _ = s.command(t, "endpoint", "get", "s1")
	wantSaid(t, out, "state          enabled, failing", "was disabled   ")
}

func TestWhatIsOwedCanBeForgotten(t *testing.T) {
	s := atRest(t)
	s.publish(t, "s1", "r1")
	s.disabled(t, 2)
	s.publish(t, "s1", "r2", "r3")
	out, _, _ := s.command(t, "endpoint", "enable", "s1", "--no-replay")
	wantSaid(t, out, "s1 is enabled (revision 2)", "owed since sequence 2: forgotten up to sequence 3")
	r, known, err := health.Look(t.Context(), s.js, s.names, "s1")
	must(t, err)
	if !known || r.OwedFrom != 4 || r.OwedUntil.IsZero() {
		t.Errorf("the record is %+v", r)
	}
}

func TestNothingOwedIsNothingForgotten(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", false)
	out, _, _ := s.command(t, "endpoint", "enable", "s1", "--no-replay")
	wantSaid(t, out, "s1 is enabled (revision 2)", "nothing was owed")
	out, _, _ = s.command(t, "endpoint", "enable", "s1")
	wantSaid(t, out, "s1 is enabled (revision 2)", "it was enabled already: nothing was changed")
}

func TestAnEndpointThatOnlyFailsIsProbedWhenItWouldBeAnyway(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		return b.Failed(ctx, "s1", health.Failure{At: time.Now().Add(-time.Hour), Reason: "5xx", NextProbe: time.Now().Add(time.Hour)})
	})
	out, _, _ := s.command(t, "endpoint", "enable", "s1")
	wantSaid(t, out, "s1 is enabled (revision 1)", "nothing was changed", "it fails since ", "(1 h ago), last: 5xx; one event is tried at ", "(in 59 min")
}
