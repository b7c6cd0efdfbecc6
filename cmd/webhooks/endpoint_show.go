package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
)

type endpointGet struct {
	endpointTarget `embed:""`
	JSON           bool `name:"json" help:"Print JSON."`
}

// Run shows the endpoint.
func (c *endpointGet) Run(w *world) error {
	return c.with(w, endpoints.Lenient(), func(ctx context.Context, e *editing) error {
		v, err := e.Look(ctx)
		if err != nil {
			return orCreate(e.survey, err)
		}
		if c.JSON {
			return w.printJSON(v)
		}
		return printEndpoint(w, v, time.Now())
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
	s, err := c.open(w)
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
	for ep, err := range config.NewEditor(kv, endpoints.Lenient()).List(ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		v := endpoints.ViewOf(ep)
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
		t.AppendRow([]any{v.Survey, v.State(), v.URL, v.Secrets, v.Changed})
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

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// printEndpoint shows one endpoint, a field a line.
func printEndpoint(w *world, v endpoints.View, now time.Time) error {
	for _, line := range []struct{ name, value string }{
		{"survey", v.Survey},
		{"state", v.State()},
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
	for _, line := range healthLines(v.Survey, *v.Health, v.Revision, now) {
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
