// Package api is the admin API: a survey's webhook over HTTP, for platforms that
// would rather not speak to NATS. openapi.yaml describes it, and is served with it.
//
// A revision is an entity tag: who changes a webhook says with If-Match which
// revision was looked at, and whoever comes second is told so. Errors are problem
// details (RFC 9457).
package api

import (
	"context"
	_ "embed"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

//go:embed openapi.yaml
var document []byte

// Document returns the OpenAPI 3.1 document.
func Document() []byte { return slices.Clone(document) }

// Options are what the API works with. All but Log are needed.
type Options struct {
	JS     jetstream.JetStream
	Names  events.Names
	Rules  delivery.Rules                  // what a webhook's URL is checked by
	Keys   func() (*config.Keyring, error) // seals secrets, and opens them for a test
	Client func() *delivery.Client         // sends tests; nil while the service starts
	Log    zerolog.Logger                  // hears of every change, without its values
}

// requestTime bounds one request, reading the delivery log included. It is below
// the listener's own limit, so that the answer says what was too slow.
const requestTime = 25 * time.Second

// handler answers one request with what it wants written, or why not.
type handler func(r *http.Request, s events.Survey) (reply, error)

// reply is an answer that is no error.
type reply struct {
	status   int
	revision uint64 // becomes the entity tag; 0: there is none
	body     any    // nil: there is none
}

// Handler serves everything below /v1/. It asks for no token: whoever mounts it
// does.
func Handler(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	const one = "/v1/surveys/{survey}/webhook"
	for pattern, h := range map[string]handler{
		"GET " + one:                            a.get,
		"PUT " + one:                            a.put,
		"DELETE " + one:                         a.remove,
		"POST " + one + "/enable":               a.enable,
		"POST " + one + "/disable":              a.disable,
		"POST " + one + "/test":                 a.test,
		"GET " + one + "/health":                a.health,
		"GET " + one + "/deliveries":            a.deliveries,
		"GET /v1/surveys/{survey}/dead-letters": a.deadLetters,
	} {
		mux.Handle(pattern, a.serve(h))
	}
	mux.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(document) // whoever asked has gone
	})
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		write(w, problem{Title: "Not found", Status: http.StatusNotFound, Detail: "nothing answers " + r.Method + " here; see /v1/openapi.yaml"})
	})
	return mux
}

// Closed answers in place of the API where no token protects it.
func Closed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, problem{Title: "The API is closed", Status: http.StatusForbidden, Detail: "start the service with --admin-token (WEBHOOKS_ADMIN_TOKEN): without a token nobody may change webhooks over HTTP"})
	})
}

type api struct{ Options }

// serve is what all handlers have in common.
func (a *api) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		survey, err := events.ParseSurvey(r.PathValue("survey"))
		if err != nil {
			write(w, badRequest("the survey's id is not valid: use 1 to 128 letters, digits, - and _"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, config.MaxEndpointBytes)
		answer, err := h(r.WithContext(ctx), survey)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				a.Log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.EscapedPath()).Msg("the admin API met an error it does not know")
			}
			write(w, p)
			return
		}
		a.told(r, survey, answer)
		answer.write(w)
	})
}

// told writes down who-asked-what of everything that changes or sends something.
func (a *api) told(r *http.Request, s events.Survey, answer reply) {
	if r.Method != http.MethodGet {
		a.Log.Info().Str("method", r.Method).Str("path", r.URL.EscapedPath()).Str("survey", string(s)).Uint64("revision", answer.revision).Msg("admin API")
	}
}

func (a *api) desk(r *http.Request, s events.Survey, rules delivery.Rules) (*endpoints.Desk, error) {
	return endpoints.Open(r.Context(), a.JS, a.Names, s, rules)
}
