package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

// checkEndpoint connects to the endpoints that were asked for, and sends nothing.
func (d *doctor) checkEndpoint(ctx context.Context) (found []finding, err error) {
	if d.survey != "" {
		f, err := d.surveysEndpoint(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, f...)
	}
	if d.url != "" {
		f, err := d.connectTo(ctx, d.url)
		return append(found, f...), err
	}
	return found, nil
}

func (d *doctor) surveysEndpoint(ctx context.Context) ([]finding, error) {
	about, survey := "endpoint", string(d.survey)
	kv, err := d.bucket(ctx, d.names.Endpoints())
	if err != nil {
		return nil, err
	}
	ep, err := config.NewEditor(kv, endpoints.Lenient()).Get(ctx, d.survey)
	switch {
	case errors.Is(err, config.ErrNoEndpoint):
		return []finding{fail(about, "webhooks endpoint set "+survey+" --url https://…", "survey %s has none: nothing is owed to it", survey)}, nil
	case errors.Is(err, config.ErrInvalidEndpoint):
		return []finding{fail(about, "webhooks endpoint get "+survey, "that of survey %s is not valid: %s", survey, err)}, nil
	case err != nil:
		return nil, err
	}
	found, err := d.connectTo(ctx, ep.URL)
	if !ep.Enabled {
		found = append(found, warn(about, "webhooks endpoint enable "+survey, "its owner has switched it off"))
	}
	return found, err
}

// connectTo dials as the service would: by the same rules, through the same guard.
func (d *doctor) connectTo(ctx context.Context, endpoint string) ([]finding, error) {
	roots, err := caBundle(d.settings.Delivery.CABundle)
	if err != nil {
		return nil, err
	}
	client, err := delivery.NewClient(delivery.Options{Version: programVersion(), Rules: d.settings.Delivery.Rules(), RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	h, err := client.Handshake(ctx, endpoint, d.settings.Delivery.Rules())
	if bad, is := errors.AsType[*delivery.URLError](err); is {
		return []finding{fail("endpoint", bad.Hint, "%s", bad)}, nil
	}
	if err != nil {
		return nil, err
	}
	return handshake(h), nil
}

// handshake judges how far a connection came.
func handshake(h delivery.Handshake) []finding {
	if h.Reason != "" {
		do := map[delivery.Reason]string{
			delivery.ReasonDNS:     "check the host's name",
			delivery.ReasonDNSOurs: "look at this machine's resolver",
			delivery.ReasonBlocked: "private and special addresses are refused; one that is meant is allowed with --allow",
			delivery.ReasonTLS:     "its certificate must be valid for its name and known here; an authority of your own is given with --ca-bundle",
			delivery.ReasonRefused: "nobody listens there: check the port",
		}[h.Reason]
		if do == "" {
			do = "check that it is reachable from here"
		}
		return []finding{fail("endpoint", do, "%s: %s (%s)", h.Host, h.Detail, h.Reason)}
	}
	reached := fmt.Sprintf("%s at %s: name in %s, connected in %s", h.Host, h.Address, h.Phases.DNS.Round(time.Millisecond), h.Phases.Connect.Round(time.Millisecond))
	if h.TLS == "" {
		return []finding{warn("endpoint", "use https", "%s, without TLS", reached)}
	}
	return []finding{
		ok("endpoint", "%s, %s in %s, %s", reached, h.TLS, h.Phases.TLS.Round(time.Millisecond), h.Protocol),
		certificate("certificate", "good until "+shortTime(h.Expires), h.Expires),
	}
}
