package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/events"
)

func TestWhatMayBeHandedBack(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	s.endpointAt(t, "off", false)
	s.endpointAt(t, "given-up", true)
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		return b.Disable(ctx, "given-up", health.Disabled{At: time.Now(), By: health.ByEndpoint, Why: "it answered 410 Gone", Revision: 9}, "410")
	})
	back, err := newHandBack(t.Context(), s.session, events.MaxBytes, false)
	must(t, err)
	published := time.Now().Add(time.Minute)
	for name, c := range map[string]struct {
		letter    deadletters.Letter
		why, hint string
	}{
		"a whole letter":                             {deadletters.Letter{Survey: "s1", EventID: "r1", Body: event("s1", "r1")}, "", ""},
		"a letter whose event id was not read":       {deadletters.Letter{Survey: "s1", Body: event("s1", "r1")}, "", ""},
		"a letter whose survey was not read":         {deadletters.Letter{Body: event("s1", "r1")}, "", ""},
		"an owner who has switched the endpoint off": {deadletters.Letter{Survey: "off", Body: event("off", "r1")}, "", ""},
		"a body that is no event":                    {deadletters.Letter{Survey: "s1", Body: []byte("{}")}, "not an event that can be delivered", "webhooks publish"},
		"a body of another survey":                   {deadletters.Letter{Survey: "s1", Body: event("s2", "r1")}, "not an event that can be delivered", "dead-letters show 7"},
		"a body that is too large":                   {deadletters.Letter{Survey: "s1", Body: make([]byte, events.MaxBytes+1)}, "too large", ""},
		"a survey without an endpoint":               {deadletters.Letter{Survey: "nobody", Body: event("nobody", "r1")}, "has no endpoint now", "webhooks endpoint set nobody --url"},
		"an endpoint that is disabled":               {deadletters.Letter{Survey: "given-up", Body: event("given-up", "r1")}, "it answered 410 Gone", "webhooks endpoint enable given-up"},
		"another stream":                             {deadletters.Letter{Survey: "s1", Stream: "OLD", Body: event("s1", "r1")}, "another event stream", "dead-letters show 7 --raw | webhooks publish -"},
		"a stream of the same name, made anew since": {deadletters.Letter{Survey: "s1", Published: time.Now().Add(-time.Hour), Body: event("s1", "r1")}, "another event stream", "publish -"},
	} {
		l := c.letter
		l.Sequence, l.Source, l.Attempts, l.Traceparent = 7, 41, 3, "trace"
		if l.Stream == "" {
			l.Stream = s.names.Stream()
		}
		if l.Published.IsZero() {
			l.Published = published
		}
		got, err := back.waiting(t.Context(), l)
		if c.why != "" {
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "-", " "), strings.ReplaceAll(c.why, "-", " ")) || !strings.Contains(hintOf(err), c.hint) {
				t.Errorf("%s: %v (hint %q), want %q (hint %q)", name, err, hintOf(err), c.why, c.hint)
			}
			continue
		}
		want := lanes.Waiting{
			Survey: got.Survey, EventID: "r1", Source: 41, Published: published, Attempts: 3, Reason: "redriven", DueNow: true, Traceparent: "trace", Body: l.Body,
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(lanes.Waiting{}, "Parked")); err != nil || diff != "" || got.Survey == "" || got.Parked.IsZero() {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestAnAnswerThatDidNotComeIsAskedForAgain(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	back, err := newHandBack(t.Context(), s.session, events.MaxBytes, false)
	must(t, err)
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := back.takes(late, "s1"); !errors.Is(err, context.Canceled) {
		t.Errorf("without an answer it says %v", err)
	}
	if err := back.takes(t.Context(), "s1"); err != nil {
		t.Errorf("what could not be found out at first stands for ever: %v", err)
	}
	for range 2 { // what was found out does
		if err := back.takes(t.Context(), "nobody"); !errors.As(err, new(*refusal)) {
			t.Errorf("a survey without an endpoint: %v", err)
		}
	}
}

func TestAnEndpointIsLookedUpOnceForManyLetters(t *testing.T) {
	s := atRest(t)
	ep := s.endpointAt(t, "s1", true)
	back, err := newHandBack(t.Context(), s.session, events.MaxBytes, false)
	must(t, err)
	must(t, back.takes(t.Context(), "s1"))
	kv, err := s.bucket(t.Context(), s.names.Endpoints())
	must(t, err)
	must(t, config.NewEditor(kv, endpoints.Lenient()).Remove(t.Context(), "s1", ep.Revision))
	if err := back.takes(t.Context(), "s1"); err != nil {
		t.Errorf("it was asked again: %v", err)
	}
}
