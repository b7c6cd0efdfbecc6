package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// need refuses a command that cannot be done by this user, before it has begun:
// whoever may not ask gets no answer, and would be told after a while that there was
// none.
func (s *session) need(ctx context.Context, as string, subjects ...string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, subject := range subjects {
		may, err := s.may(ctx, subject)
		if err != nil {
			return err
		}
		if !may {
			return withHint("run it as a user who may; of deployments/nats/accounts.conf that is "+as+": NATS_USER="+as+" NATS_PASSWORD=… NATS_INBOX_PREFIX=_INBOX_"+as, "nothing was done: NATS does not let this user publish to %s", subject)
		}
	}
	return nil
}

// may tries to publish to a subject what every server refuses: a request that asks
// for more than any server knows, bound for a stream that does not exist, without
// anybody to answer to. Such a refusal is an ordinary answer of which nothing stands
// in the server's log. The server says at once, and before it answers anything later,
// when the user may not publish there.
func (s *session) may(ctx context.Context, subject string) (bool, error) {
	before := s.nc.LastError()
	err := s.nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{expectedStream: {noStream}, requiredLevel: {"1000000"}}, Data: refusedBody(subject)})
	if err != nil {
		return false, fmt.Errorf("try to publish to %s: %w", subject, err)
	}
	if err := s.nc.FlushWithContext(ctx); err != nil {
		return false, fmt.Errorf("try to publish to %s: %w", subject, err)
	}
	after := s.nc.LastError()
	return !errors.Is(after, nats.ErrPermissionViolation) || errors.Is(after, before), nil
}

const (
	noStream       = "none-the-doctor-asks"
	expectedStream = "Nats-Expected-Stream"    // a stream refuses a message meant for another one
	requiredLevel  = "Nats-Required-Api-Level" // a server refuses a request meant for a newer one
)

// refusedBody is what a server refuses that does not know requiredLevel. It is no
// JSON: no request can be made of it. Only what makes a consumer is read before that
// header, and logged when it is not well formed; it is of another stream than its
// subject.
func refusedBody(subject string) []byte {
	if strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE.") {
		return []byte(`{"stream_name":"` + noStream + `","config":{}}`)
	}
	return []byte("{")
}
