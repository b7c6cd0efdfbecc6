// Package api is the admin API: a survey's webhook, and replays, over HTTP, for
// platforms that would rather not speak to NATS. openapi.yaml describes it, and is
// served with it.
//
// A revision is an entity tag: who changes a webhook says with If-Match which
// revision was looked at, and whoever comes second is told so. Who starts a replay
// gives it an idempotency key, and may then ask again when an answer was lost. Errors are problem
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
	"github.com/popsee/webhooks/consumer/replay"
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
type handler func(r *http.Request) (reply, error)

// reply is an answer that is no error.
type reply struct {
	status   int
	revision uint64 // becomes the entity tag; 0: there is none
	body     any    // nil: there is none
	location string // of the replay that was asked for; empty: none was
}

// Handler serves everything below /v1/. It asks for no token: whoever mounts it
// does.
func Handler(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	for pattern, h := range a.routes() {
		mux.Handle(pattern, h)
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		write(w, problem{Title: "Not found", Status: http.StatusNotFound, Detail: "nothing answers " + r.Method + " here; see /v1/openapi.yaml"})
	})
	return mux
}

// routes are what the document describes, no more and no less.
func (a *api) routes() map[string]http.Handler {
	const (
		survey = "/v1/surveys/{survey}"
		hook   = survey + "/webhook"
		all    = "/v1/replays"
		one    = all + "/{replay}"
	)
	routes := map[string]http.Handler{"GET /v1/openapi.yaml": http.HandlerFunc(serveDocument)}
	for pattern, h := range map[string]func(*http.Request, events.Survey) (reply, error){
		"GET " + hook:                     a.get,
		"PUT " + hook:                     a.put,
		"DELETE " + hook:                  a.remove,
		"POST " + hook + "/enable":        a.enable,
		"POST " + hook + "/disable":       a.disable,
		"POST " + hook + "/test":          a.test,
		"GET " + hook + "/health":         a.health,
		"GET " + hook + "/deliveries":     a.deliveries,
		"GET " + survey + "/dead-letters": a.deadLetters,
	} {
		routes[pattern] = a.serve(config.MaxEndpointBytes, ofSurvey(h))
	}
	for pattern, h := range map[string]handler{
		"POST " + all:             a.startReplay,
		"GET " + all:              a.listReplays,
		"GET " + one:              ofReplay(a.getReplay),
		"POST " + one + "/pause":  ofReplay(a.change((*replay.Record).Stop)),
		"POST " + one + "/resume": ofReplay(a.change((*replay.Record).Go)),
		"POST " + one + "/cancel": ofReplay(a.change((*replay.Record).Drop)),
	} {
		routes[pattern] = a.serve(maxReplayBytes, h)
	}
	return routes
}

func serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(document) // whoever asked has gone
}

// Closed answers in place of the API where no token protects it.
func Closed() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		write(w, problem{Title: "The API is closed", Status: http.StatusForbidden, Detail: "start the service with --admin-token (WEBHOOKS_ADMIN_TOKEN): without a token nobody may change webhooks over HTTP"})
	})
}

type api struct{ Options }

// serve is what all handlers have in common.
func (a *api) serve(most int64, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, most)
		answer, err := h(r.WithContext(ctx))
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				a.Log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.EscapedPath()).Msg("the admin API met an error it does not know")
			}
			write(w, p)
			return
		}
		a.told(r, answer)
		answer.write(w)
	})
}

// ofSurvey is a handler of what belongs to the survey in the path.
func ofSurvey(h func(*http.Request, events.Survey) (reply, error)) handler {
	return func(r *http.Request) (reply, error) {
		survey, err := events.ParseSurvey(r.PathValue("survey"))
		if err != nil {
			return reply{}, badRequest("the survey's id is not valid: use 1 to 128 letters, digits, - and _")
		}
		return h(r, survey)
	}
}

// told writes down who-asked-what of everything that changes or sends something.
func (a *api) told(r *http.Request, answer reply) {
	if r.Method == http.MethodGet {
		return
	}
	e := a.Log.Info().Str("method", r.Method).Str("path", r.URL.EscapedPath()).Int("status", answer.status).Uint64("revision", answer.revision)
	if survey := r.PathValue("survey"); survey != "" {
		e.Str("survey", survey)
	}
	if answer.location != "" {
		e.Str("location", answer.location)
	}
	e.Msg("admin API")
}

func (a *api) desk(r *http.Request, s events.Survey, rules delivery.Rules) (*endpoints.Desk, error) {
	return endpoints.Open(r.Context(), a.JS, a.Names, s, rules)
}
