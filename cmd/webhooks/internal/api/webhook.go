package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

func (a *api) get(r *http.Request, s events.Survey) (reply, error) {
	d, err := a.desk(r, s, endpoints.Lenient())
	if err != nil {
		return reply{}, err
	}
	v, err := d.Look(r.Context())
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, revision: v.Revision, body: v}, nil
}

// input is a webhook as it is put. Secrets cannot be read back, so they stay as
// they are where none are given.
type input struct {
	URL           string                 `json:"url"`
	Enabled       *bool                  `json:"enabled"`        // nil: true
	Secret        *string                `json:"secret"`         // in plain text; sealed here, the only one from then on
	SealedSecrets *[]config.SealedSecret `json:"sealed_secrets"` // newest first; empty: requests are not signed
	Headers       map[string]string      `json:"headers"`        // a value of [endpoints.Masked] stays what it is
	MaxInFlight   int                    `json:"max_in_flight"`
	RatePerSecond float64                `json:"rate_per_second"`
	Description   string                 `json:"description"`
}

func (a *api) put(r *http.Request, s events.Survey) (reply, error) {
	in, err := read[input](r, "a webhook")
	if err != nil {
		return reply{}, err
	}
	d, err := a.desk(r, s, a.Rules)
	if err != nil {
		return reply{}, err
	}
	stored, err := d.Get(r.Context())
	if err != nil && !errors.Is(err, config.ErrNoEndpoint) && !errors.Is(err, config.ErrInvalidEndpoint) {
		return reply{}, err
	}
	if err := check(r, stored.Revision); err != nil {
		return reply{}, err
	}
	ep, err := a.merge(s, stored, in)
	if err != nil {
		return reply{}, err
	}
	if ep, err = d.Put(r.Context(), ep); err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	if stored.Revision == 0 {
		status = http.StatusCreated
	}
	return reply{status: status, revision: ep.Revision, body: endpoints.ViewOf(ep)}, nil
}

// merge is the webhook that is to be stored.
func (a *api) merge(s events.Survey, stored config.Endpoint, in input) (config.Endpoint, error) {
	ep := config.Endpoint{
		Survey: s, Revision: stored.Revision, URL: in.URL, Enabled: in.Enabled == nil || *in.Enabled, Secrets: stored.Secrets,
		MaxInFlight: in.MaxInFlight, RatePerSecond: in.RatePerSecond, Description: in.Description,
	}
	var err error
	if ep.Headers, err = unmasked(in.Headers, stored.Headers); err != nil {
		return ep, err
	}
	switch {
	case in.Secret != nil && in.SealedSecrets != nil:
		return ep, badRequest("secret and sealed_secrets: only one of them")
	case in.SealedSecrets != nil:
		ep.Secrets = *in.SealedSecrets
	case in.Secret != nil:
		ep.Secrets, err = a.seal(s, *in.Secret)
	}
	return ep, err
}

// unmasked puts back the values that were not shown.
func unmasked(headers, stored map[string]string) (map[string]string, error) {
	for name, value := range headers {
		if value != endpoints.Masked {
			continue
		}
		kept, there := stored[name]
		if !there {
			return nil, badRequest(fmt.Sprintf("headers: %q keeps a value that is not there", name))
		}
		headers[name] = kept
	}
	return headers, nil
}

func (a *api) seal(s events.Survey, text string) ([]config.SealedSecret, error) {
	secret, err := delivery.NewSecret(text)
	if err != nil {
		return nil, problem{Title: "Not a valid webhook", Status: http.StatusUnprocessableEntity, Detail: "secret: " + err.Error(), Errors: []string{"secret: " + err.Error()}}
	}
	keys, err := a.Keys()
	if err != nil {
		return nil, noKeys(err)
	}
	sealed, err := keys.Seal(s, secret)
	if err != nil {
		return nil, noKeys(err)
	}
	return []config.SealedSecret{sealed}, nil
}

func noKeys(err error) error {
	return problem{
		Title: "No key to seal with", Status: http.StatusConflict, Detail: err.Error(),
		Hint: "give the service its key ring with --keyring, or seal the secret yourself and send sealed_secrets",
	}
}

func (a *api) remove(r *http.Request, s events.Survey) (reply, error) {
	d, ep, err := a.current(r, s)
	if err != nil {
		return reply{}, err
	}
	if err := check(r, ep.Revision); err != nil {
		return reply{}, err
	}
	if err := d.Remove(r.Context(), ep.Revision); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

// current is the webhook that is there, whether or not it is valid.
func (a *api) current(r *http.Request, s events.Survey) (*endpoints.Desk, config.Endpoint, error) {
	d, err := a.desk(r, s, endpoints.Lenient())
	if err != nil {
		return nil, config.Endpoint{}, err
	}
	ep, err := d.Get(r.Context())
	if errors.Is(err, config.ErrInvalidEndpoint) {
		err = nil
	}
	return d, ep, err
}
