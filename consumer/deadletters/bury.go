package deadletters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// Bury stores one letter and returns when the stream has it durably. After an
// error nothing may be let go: the letter may be stored or not, and burying it
// again makes a second letter at worst.
//
// An event too large to be copied with its headers is buried by reference: where
// it stands, how long it is, and its SHA-256.
func (s *Store) Bury(ctx context.Context, l Letter) error {
	l = s.complete(l)
	msg := s.message(l)
	if int64(msg.Size()-len(msg.Subject)) > s.js.Conn().MaxPayload() {
		msg = s.reference(l)
	}
	err := s.publish(ctx, msg)
	if tooLarge(err) && len(msg.Data) > 0 {
		err = s.publish(ctx, s.reference(l))
	}
	if err != nil {
		return fmt.Errorf("bury event at %s %d: %w", l.Stream, l.Source, err)
	}
	return nil
}

// complete fills in what Bury knows better than its caller.
func (s *Store) complete(l Letter) Letter {
	if l.Stream == "" {
		l.Stream = s.names.Stream()
	}
	if _, err := events.ParseSurvey(string(l.Survey)); err != nil {
		l.Survey = "" // no subject could carry it
	}
	l.Bytes, l.SHA256 = len(l.Body), ""
	return l
}

func (s *Store) message(l Letter) *nats.Msg {
	return &nats.Msg{Subject: s.names.DeadSubject(l.Survey), Header: l.header(), Data: l.Body}
}

func (s *Store) reference(l Letter) *nats.Msg {
	l.SHA256 = digest(l.Body)
	l.Body = nil
	return s.message(l)
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// publish returns when the dead letter stream, and no other, has the message.
func (s *Store) publish(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	ack, err := s.js.PublishMsg(ctx, msg)
	if err != nil {
		return err
	}
	if ack.Stream != s.names.DeadLetters() {
		return fmt.Errorf("stream %s took it, not %s", ack.Stream, s.names.DeadLetters())
	}
	return nil
}

// codeTooLarge is the server's for a message above the stream's own limit.
const codeTooLarge jetstream.ErrorCode = 10054

func tooLarge(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || layout.RefusedWith(err, codeTooLarge)
}
