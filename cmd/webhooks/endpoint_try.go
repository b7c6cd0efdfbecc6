package main

import (
	"context"
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

type endpointTest struct {
	endpointTarget `embed:""`
	rulesFlags     `embed:""`
	keyringFlags   `embed:""`
	CABundle       string `name:"ca-bundle" env:"WEBHOOKS_CA_BUNDLE" placeholder:"FILE" help:"Certificate authorities that the endpoint is checked against, instead of the system's."`
	JSON           bool   `name:"json" help:"Print JSON."`
}

// Run sends one signed test event from here, through the same client the
// service uses, and tells what came back. It fails when it was not a 2xx.
func (c *endpointTest) Run(w *world) error {
	return c.withCurrent(w, func(ctx context.Context, e *editing, ep config.Endpoint) error {
		a, err := c.send(ctx, e, ep)
		if err != nil {
			return err
		}
		return c.tell(w, ep, a)
	})
}

func (c *endpointTest) send(ctx context.Context, e *editing, ep config.Endpoint) (delivery.Attempt, error) {
	roots, err := caBundle(c.CABundle)
	if err != nil {
		return delivery.Attempt{}, err
	}
	client, err := delivery.NewClient(delivery.Options{Version: programVersion(), Rules: c.rules(), RootCAs: roots})
	if err != nil {
		return delivery.Attempt{}, err
	}
	defer client.Close()
	return endpoints.Trial{Rules: c.rules(), Client: client, Keys: c.load}.Send(ctx, e.names, ep)
}

// tell says what came back, and what it means.
func (c *endpointTest) tell(w *world, ep config.Endpoint, a delivery.Attempt) error {
	if c.JSON {
		if err := w.printJSON(endpoints.ViewOfAttempt(a)); err != nil {
			return err
		}
	} else {
		w.printf("sent test event %s to %s\n", a.EventID, ep.URL)
		w.printf("came back: %s\n", answerOf(a))
		if a.Snippet != "" {
			w.printf("body: %s\n", a.Snippet)
		}
	}
	if a.Verdict != delivery.Delivered {
		return withHint("the service would try this event again; what each answer means is in deployments/receivers/README.md",
			"the endpoint of survey %s did not accept the test event: %s", ep.Survey, a.Reason)
	}
	if !c.JSON {
		w.printf("accepted: it works\n")
	}
	return nil
}

// answerOf describes an attempt's end on one line.
func answerOf(a delivery.Attempt) string {
	took := a.Took.Round(time.Millisecond)
	if a.Status != 0 {
		return fmt.Sprintf("status %d after %s", a.Status, took)
	}
	return fmt.Sprintf("no answer (%s) after %s: %s", a.Reason, took, a.Detail)
}
