package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

// resting is a provisioned deployment whose service does not run, so that nothing
// moves but what a test moves.
type resting struct {
	*session

	url string
}

func atRest(t *testing.T) resting {
	t.Helper()
	settings := testSettings(t.TempDir())
	settings.Embedded.Listen = "127.0.0.1:0"
	v, err := openService(t.Context(), settings, noEnv, zerolog.Nop())
	must(t, err)
	t.Cleanup(func() {
		if err := v.close(); err != nil {
			t.Error(err)
		}
	})
	return resting{&session{nc: v.nc, js: v.js, names: v.layout.Names}, v.embedded.URL()}
}

// command runs one command of the program against the deployment.
func (s resting) command(t *testing.T, args ...string) (out, errw string, code exitCode) {
	t.Helper()
	var o, e bytes.Buffer
	env := func(name string) string { return map[string]string{"NATS_URL": s.url}[name] }
	code = run(t.Context(), args, env, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// wantSaid checks that a text holds each of the parts.
func wantSaid(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// endpointAt gives a survey an endpoint.
func (s resting) endpointAt(t *testing.T, survey events.Survey, enabled bool) config.Endpoint {
	t.Helper()
	kv, err := s.bucket(t.Context(), s.names.Endpoints())
	must(t, err)
	ep, err := config.NewEditor(kv, endpoints.Lenient()).Put(t.Context(), config.Endpoint{Survey: survey, URL: "https://example.com/hook", Enabled: enabled})
	must(t, err)
	return ep
}

// mend changes the health record of a survey as a replica would.
func (s resting) mend(t *testing.T, f func(ctx context.Context, b *health.Board) error) {
	t.Helper()
	b, err := health.Open(t.Context(), s.js, s.names, health.Options{})
	must(t, err)
	defer b.Close()
	must(t, f(t.Context(), b))
}

// publish publishes responses of a survey.
func (s resting) publish(t *testing.T, survey events.Survey, ids ...string) {
	t.Helper()
	pub := events.NewPublisher(s.js, events.PublisherOptions{Names: s.names})
	for _, id := range ids {
		_, err := pub.Publish(t.Context(), event(survey, id))
		must(t, err)
	}
}
