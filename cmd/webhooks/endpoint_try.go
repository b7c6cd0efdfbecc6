package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
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
		target, err := c.target(ep)
		if err != nil {
			return err
		}
		a, err := c.send(ctx, e, target)
		if err != nil {
			return err
		}
		return c.tell(w, ep, a)
	})
}

// target opens the endpoint's secrets as the service would.
func (c *endpointTest) target(ep config.Endpoint) (*delivery.Target, error) {
	spec := delivery.TargetSpec{Survey: ep.Survey, URL: ep.URL, Headers: ep.Headers, Revision: ep.Revision}
	if len(ep.Secrets) > 0 {
		keys, err := c.load()
		if err != nil {
			return nil, err
		}
		for _, sealed := range ep.Secrets {
			secret, err := keys.Open(ep.Survey, sealed)
			if err != nil {
				return nil, err
			}
			s := delivery.SecretSpec{Secret: secret}
			if sealed.ExpiresAt != nil {
				s.ExpiresAt = *sealed.ExpiresAt
			}
			spec.Secrets = append(spec.Secrets, s)
		}
	}
	return delivery.NewTarget(spec, c.rules())
}

func (c *endpointTest) send(ctx context.Context, e *editing, target *delivery.Target) (delivery.Attempt, error) {
	roots, err := caBundle(c.CABundle)
	if err != nil {
		return delivery.Attempt{}, err
	}
	client, err := delivery.NewClient(delivery.Options{Version: programVersion(), Rules: c.rules(), RootCAs: roots})
	if err != nil {
		return delivery.Attempt{}, err
	}
	defer client.Close()
	event, err := testEvent(e.names, e.survey)
	if err != nil {
		return delivery.Attempt{}, err
	}
	return client.Send(ctx, target, event, delivery.Meta{Number: 1, Test: true}), nil
}

// testEvent is an event like any other but for its id, which says what it is.
func testEvent(names events.Names, survey events.Survey) (events.Event, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	body, err := events.ResponseCompleted{
		Timestamp: now, Origin: "test",
		Survey: events.SurveyRef{ID: survey, Name: "Test event"},
		Response: events.SurveyResponse{
			ID: "test_" + rand.Text(), Answers: []events.Answer{{QuestionID: "q1", Value: "This is a test."}}, CompletedAt: now,
		},
	}.Encode()
	if err != nil {
		return events.Event{}, err
	}
	return names.Decode(names.Subject(survey), nil, body)
}

// tell says what came back, and what it means.
func (c *endpointTest) tell(w *world, ep config.Endpoint, a delivery.Attempt) error {
	if c.JSON {
		if err := w.printJSON(attemptView{
			Event: a.EventID, Host: a.Host, Status: a.Status, Verdict: a.Verdict.String(), Reason: string(a.Reason),
			Seconds: a.Took.Seconds(), Detail: a.Detail, Body: a.Snippet,
		}); err != nil {
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

// attemptView is an attempt as a command prints it.
type attemptView struct {
	Event   string  `json:"event"`
	Host    string  `json:"host"`
	Status  int     `json:"status,omitempty"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"`
	Body    string  `json:"body,omitempty"`
}

// answerOf describes an attempt's end on one line.
func answerOf(a delivery.Attempt) string {
	took := a.Took.Round(time.Millisecond)
	if a.Status != 0 {
		return fmt.Sprintf("status %d after %s", a.Status, took)
	}
	return fmt.Sprintf("no answer (%s) after %s: %s", a.Reason, took, a.Detail)
}
