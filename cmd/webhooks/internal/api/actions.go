package api

import (
	"net/http"
	"strconv"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

func (a *api) enable(r *http.Request, s events.Survey) (reply, error) {
	forget, err := flag(r, "forget_owed")
	if err != nil {
		return reply{}, err
	}
	d, ep, err := a.current(r, s)
	if err != nil {
		return reply{}, err
	}
	on, err := d.Enable(r.Context(), ep, forget)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, revision: on.Endpoint.Revision, body: endpoints.ViewOf(on.Endpoint)}, nil
}

func flag(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest(name + ": want true or false")
	}
	return on, nil
}

func (a *api) disable(r *http.Request, s events.Survey) (reply, error) {
	d, ep, err := a.current(r, s)
	if err != nil {
		return reply{}, err
	}
	if ep, err = d.Disable(r.Context(), ep); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, revision: ep.Revision, body: endpoints.ViewOf(ep)}, nil
}

// trial is the end of a test.
type trial struct {
	Delivered bool `json:"delivered"`
	endpoints.AttemptView
}

func (a *api) test(r *http.Request, s events.Survey) (reply, error) {
	client := a.Client()
	if client == nil {
		return reply{}, problem{Title: "Starting", Status: http.StatusServiceUnavailable, Detail: "the service is not ready to send yet", Hint: "try again in a moment"}
	}
	_, ep, err := a.current(r, s)
	if err != nil {
		return reply{}, err
	}
	attempt, err := endpoints.Trial{Rules: a.Rules, Client: client, Keys: a.Keys}.Send(r.Context(), a.Names, ep)
	if err != nil {
		return reply{}, cannotSend(err)
	}
	return reply{status: http.StatusOK, revision: ep.Revision, body: trial{attempt.Verdict == delivery.Delivered, endpoints.ViewOfAttempt(attempt)}}, nil
}

// cannotSend says why a test was not sent: a webhook or keys that are at fault.
func cannotSend(err error) error {
	return problem{Title: "The test cannot be sent", Status: http.StatusConflict, Detail: err.Error(), Hint: config.Hint(err)}
}

// wellbeing is how a webhook is.
type wellbeing struct {
	State  string         `json:"state"`
	Health *health.Record `json:"health"` // null: nothing is wrong, as far as anybody knows
}

func (a *api) health(r *http.Request, s events.Survey) (reply, error) {
	d, err := a.desk(r, s, endpoints.Lenient())
	if err != nil {
		return reply{}, err
	}
	v, err := d.Look(r.Context())
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, revision: v.Revision, body: wellbeing{v.State(), v.Health}}, nil
}
