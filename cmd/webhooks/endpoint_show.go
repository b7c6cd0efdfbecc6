package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/delivery"
)

type endpointGet struct {
	endpointTarget `embed:""`
	JSON           bool `name:"json" help:"Print JSON."`
}

// Run shows the endpoint.
func (c *endpointGet) Run(w *world) error {
	return c.with(w, showing(), func(ctx context.Context, e *editing) error {
		ep, err := e.current(ctx)
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		v := viewOf(ep)
		v.Invalid = reasonOf(err)
		r, known, err := health.Look(ctx, e.js, e.names, e.survey)
		if err != nil {
			return err
		}
		if known {
			v.Health = &r
		}
		if c.JSON {
			return w.printJSON(v)
		}
		return v.print(w, time.Now())
	})
}

type endpointList struct {
	connection `embed:""`
	JSON       bool `name:"json" help:"Print JSON, one endpoint a line."`
}

// Run lists the endpoints as they come, without holding them all.
func (c *endpointList) Run(w *world) error {
	ctx, cancel := w.asking()
	defer cancel()
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.close()
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	unwell, err := s.unwell(ctx)
	if err != nil {
		return err
	}
	t := w.newTable("SURVEY", "STATE", "URL", "SECRETS", "CHANGED")
	for ep, err := range config.NewEditor(kv, showing()).List(ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		v := viewOf(ep)
		v.Invalid = reasonOf(err)
		if r, known := unwell[ep.Survey]; known {
			v.Health = &r
		}
		if c.JSON {
			if err := w.printJSON(v); err != nil {
				return err
			}
			continue
		}
		t.AppendRow([]any{v.Survey, v.state(), v.URL, v.Secrets, v.Changed})
	}
	switch {
	case c.JSON:
	case t.Length() == 0:
		w.printf("no endpoints; create one with: webhooks endpoint set <survey id> --url https://…\n")
	default:
		t.Render()
	}
	return nil
}

// endpointView is an endpoint as it is shown: everything but its secrets.
type endpointView struct {
	Survey        string            `json:"survey"`
	URL           string            `json:"url"`
	Enabled       bool              `json:"enabled"`
	Secrets       int               `json:"secrets"` // how many
	Headers       map[string]string `json:"headers,omitempty"`
	MaxInFlight   int               `json:"max_in_flight,omitempty"`
	RatePerSecond float64           `json:"rate_per_second,omitempty"`
	Description   string            `json:"description,omitempty"`
	Revision      uint64            `json:"revision"`
	Changed       string            `json:"updated_at,omitempty"`
	Insecure      bool              `json:"insecure,omitempty"` // works only where the service allows insecure endpoints
	Invalid       string            `json:"invalid,omitempty"`  // why it cannot be used as it is
	Health        *health.Record    `json:"health,omitempty"`   // what is wrong with it, as far as it is known here
}

func viewOf(ep config.Endpoint) endpointView {
	v := endpointView{
		Survey: string(ep.Survey), URL: ep.URL, Enabled: ep.Enabled, Secrets: len(ep.Secrets), MaxInFlight: ep.MaxInFlight,
		RatePerSecond: ep.RatePerSecond, Description: ep.Description, Revision: ep.Revision, Headers: masked(ep.Headers),
	}
	if _, err := (delivery.Rules{}).CheckURL(ep.URL); err != nil {
		v.Insecure = true
	}
	if !ep.UpdatedAt.IsZero() {
		v.Changed = ep.UpdatedAt.UTC().Format(time.RFC3339)
	}
	return v
}

// masked hides the values of an owner's headers: they often authenticate.
func masked(headers map[string]string) map[string]string {
	if headers == nil {
		return nil
	}
	names := make(map[string]string, len(headers))
	for name := range headers {
		names[name] = "(set)"
	}
	return names
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (v endpointView) state() string {
	state := "disabled"
	switch {
	case v.Invalid != "":
		return "invalid"
	case v.Enabled && v.Health != nil && v.Health.DisabledAt(v.Revision):
		state = "disabled by " + byWhom(v.Health.Disabled.By)
	case v.Enabled && v.Health != nil && v.Health.Failing():
		state = "enabled, failing"
	case v.Enabled:
		state = "enabled"
	}
	if v.Insecure {
		state += ", insecure"
	}
	return state
}

// print shows one endpoint, a field a line.
func (v endpointView) print(w *world, now time.Time) error {
	for _, line := range []struct{ name, value string }{
		{"survey", v.Survey},
		{"state", v.state()},
		{"url", v.URL},
		{"secrets", strconv.Itoa(v.Secrets)},
		{"max in flight", limit(float64(v.MaxInFlight))},
		{"per second", limit(v.RatePerSecond)},
		{"description", v.Description},
		{"changed", v.Changed},
		{"revision", strconv.FormatUint(v.Revision, 10)},
		{"invalid", v.Invalid},
	} {
		if line.value != "" {
			w.printf("%-14s %s\n", line.name, line.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		w.printf("%-14s %s\n", "header", name)
	}
	if v.Health == nil {
		return nil
	}
	for _, line := range healthLines(*v.Health, v.Revision, now) {
		w.printf("%-14s %s\n", line.name, line.value)
	}
	return nil
}

func limit(n float64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}
