// Package leader reads single messages from the leader of a stream. The client asks
// whoever is near where a stream allows that, and takes several times as long to read
// the leader's answer (measured; a lane that drains reads one for each event).
package leader

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// codeNoMessage is what the server says when there is no such message:
// JSNoMessageFoundErr.
const codeNoMessage = 10037

// Question says which message is meant: the one at Seq, the first from Seq on of
// the subject NextFor, or the last of the subject LastFor. Subjects may hold wildcards.
type Question struct {
	Seq     uint64 `json:"seq,omitzero"`
	NextFor string `json:"next_by_subj,omitzero"`
	LastFor string `json:"last_by_subj,omitzero"`
}

// Message is a stored message, which the caller owns. Seq is 0 when there is none.
type Message struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"` // when it was stored
	Head []byte    `json:"hdrs"` // as [nats.DecodeHeadersMsg] reads it; empty: it has no headers
	Data []byte    `json:"data"`
}

// Headers reads the headers; of a message without any they are nil.
func (m Message) Headers() (nats.Header, error) {
	if len(m.Head) == 0 {
		return nil, nil //nolint:nilnil // none, and nothing wrong
	}
	return nats.DecodeHeadersMsg(m.Head)
}

// Read asks the stream's leader for a message and returns the zero Message when it
// has none. Who leads is not looked up: nobody else answers. It returns an error when
// nobody answered before ctx ended, or the leader refused.
func Read(ctx context.Context, js jetstream.JetStream, stream string, q Question) (Message, error) {
	m, err := read(ctx, js, stream, q)
	if err != nil {
		return Message{}, fmt.Errorf("ask the leader of stream %s: %w", stream, err)
	}
	return m, nil
}

func read(ctx context.Context, js jetstream.JetStream, stream string, q Question) (Message, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return Message{}, err
	}
	msg, err := js.Conn().RequestWithContext(ctx, prefix(js)+"STREAM.MSG.GET."+stream, b)
	if err != nil {
		return Message{}, err
	}
	var answer struct {
		Message Message             `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &answer); {
	case err != nil:
		return Message{}, err
	case answer.Error == nil:
		return answer.Message, nil
	case answer.Error.ErrorCode == codeNoMessage:
		return Message{}, nil
	}
	return Message{}, answer.Error
}

// prefix is where the API is reached.
func prefix(js jetstream.JetStream) string {
	o := js.Options()
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}
