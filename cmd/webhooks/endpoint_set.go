package main

import (
	"context"
	"errors"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
)

type endpointSet struct {
	endpointTarget `embed:""`
	rulesFlags     `embed:""`
	keyringFlags   `embed:""`
	secretFlags    `embed:""`

	URL           string      `name:"url" placeholder:"URL" help:"Where the responses are sent; https."`
	Header        headerFlags `name:"header" placeholder:"NAME=VALUE" help:"Extra request header; replaces those there are."`
	MaxInFlight   *int        `name:"max-in-flight" placeholder:"N" help:"Most requests at a time; 0 means no limit of the owner's."`
	RatePerSecond *float64    `name:"rate-per-second" placeholder:"N" help:"Most requests a second; 0 means no limit of the owner's."`
	Description   *string     `name:"description" placeholder:"TEXT" help:"For people."`
	JSON          bool        `name:"json" help:"Print JSON."`
}

// Run creates or changes the endpoint, comparing before it sets.
func (c *endpointSet) Run(w *world) error {
	return c.with(w, c.rules(), func(ctx context.Context, e *editing) error { return c.set(ctx, w, e) })
}

func (c *endpointSet) set(ctx context.Context, w *world, e *editing) error {
	ep, err := e.Get(ctx)
	created := errors.Is(err, config.ErrNoEndpoint)
	switch {
	case created && c.URL == "":
		return usage{withHint("webhooks endpoint set "+c.Survey+" --url https://…", "survey %s has no endpoint yet: a new one needs --url", c.Survey)}
	case created:
		ep = config.Endpoint{Survey: e.survey, Enabled: true}
	case err != nil && !errors.Is(err, config.ErrInvalidEndpoint):
		return err
	}
	if err := c.apply(w, &ep); err != nil {
		return err
	}
	if ep, err = e.Put(ctx, ep); err != nil {
		return conflict(err)
	}
	if c.JSON {
		return w.printJSON(endpoints.ViewOf(ep))
	}
	w.printf("%s: responses go to %s (revision %d)\n", ep.Survey, ep.URL, ep.Revision)
	if len(ep.Secrets) == 0 {
		w.printf("note: without a secret its requests are not signed; give one with --secret-file or --generate-secret\n")
	}
	return nil
}

// apply takes over what was given on the command line.
func (c *endpointSet) apply(w *world, ep *config.Endpoint) error {
	if c.URL != "" {
		ep.URL = c.URL
	}
	if c.Header != nil {
		ep.Headers = c.Header
	}
	if c.MaxInFlight != nil {
		ep.MaxInFlight = *c.MaxInFlight
	}
	if c.RatePerSecond != nil {
		ep.RatePerSecond = *c.RatePerSecond
	}
	if c.Description != nil {
		ep.Description = *c.Description
	}
	sealed, err := c.seal(w, c.keyringFlags, ep.Survey)
	if err != nil || sealed == nil {
		return err
	}
	ep.Secrets = []config.SealedSecret{*sealed}
	return nil
}
