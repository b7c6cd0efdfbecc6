package endpoints

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Trial is what sends a test event: the rules and the client of the service, or
// the same made anew.
type Trial struct {
	Rules  delivery.Rules
	Client *delivery.Client                // the caller closes it
	Keys   func() (*config.Keyring, error) // asked when the endpoint has secrets
}

// Send sends one signed test event to an endpoint and tells what came back. The
// error says why nothing was sent.
func (t Trial) Send(ctx context.Context, names events.Names, ep config.Endpoint) (delivery.Attempt, error) {
	target, err := t.target(ep)
	if err != nil {
		return delivery.Attempt{}, err
	}
	event, err := testEvent(names, ep.Survey)
	if err != nil {
		return delivery.Attempt{}, err
	}
	return t.Client.Send(ctx, target, event, delivery.Meta{Number: 1, Test: true}), nil
}

// target opens the endpoint's secrets as the service does.
func (t Trial) target(ep config.Endpoint) (*delivery.Target, error) {
	spec := delivery.TargetSpec{Survey: ep.Survey, URL: ep.URL, Headers: ep.Headers, Revision: ep.Revision}
	if len(ep.Secrets) == 0 {
		return delivery.NewTarget(spec, t.Rules)
	}
	keys, err := t.Keys()
	if err != nil {
		return nil, err
	}
	for _, sealed := range ep.Secrets {
		if sealed.Expired(time.Now()) {
			continue // it signs nothing any more, and its key may be gone
		}
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
	return delivery.NewTarget(spec, t.Rules)
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

// AttemptView is a test's end as it is printed and sent.
type AttemptView struct {
	Event   string  `json:"event"`
	Host    string  `json:"host"`
	Status  int     `json:"status,omitempty"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"`
	Body    string  `json:"body,omitempty"`
}

// ViewOfAttempt shows an attempt.
func ViewOfAttempt(a delivery.Attempt) AttemptView {
	return AttemptView{
		Event: a.EventID, Host: a.Host, Status: a.Status, Verdict: a.Verdict.String(), Reason: string(a.Reason),
		Seconds: a.Took.Seconds(), Detail: a.Detail, Body: a.Snippet,
	}
}
