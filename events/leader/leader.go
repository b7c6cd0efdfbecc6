// Package leader reads single messages of a stream from its leader, whatever the
// client would do: that asks whoever is near where a stream allows it, who may not have
// heard of what was stored just now.
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

// Message is a stored message, which the caller owns. Sequence is 0 when there is none.
type Message struct {
	Sequence uint64
	Subject  string
	Time     time.Time // when it was stored
	Header   nats.Header
	Data     []byte
}

// answer is what STREAM.MSG.GET says.
type answer struct {
	Message struct {
		Seq     uint64    `json:"seq"`
		Subject string    `json:"subject"`
		Time    time.Time `json:"time"`
		Head    []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// Read asks the stream's leader for a message, and returns the zero Message when it
// has none. It returns an error when nobody answered before ctx ended, or the leader
// refused.
func Read(ctx context.Context, js jetstream.JetStream, stream string, q Question) (Message, error) {
	m, err := read(ctx, js, stream, q)
	if err != nil {
		return Message{}, fmt.Errorf("ask the leader of stream %s: %w", stream, err)
	}
	return m, nil
}

func read(ctx context.Context, js jetstream.JetStream, stream string, q Question) (m Message, err error) {
	b, err := json.Marshal(q)
	if err != nil {
		return m, err
	}
	msg, err := js.Conn().RequestWithContext(ctx, prefix(js)+"STREAM.MSG.GET."+stream, b)
	if err != nil {
		return m, err
	}
	var a answer
	switch err := json.Unmarshal(msg.Data, &a); {
	case err != nil:
		return m, err
	case a.Error != nil && a.Error.ErrorCode == codeNoMessage:
		return m, nil
	case a.Error != nil:
		return m, a.Error
	}
	m.Sequence, m.Subject, m.Time, m.Data = a.Message.Seq, a.Message.Subject, a.Message.Time, a.Message.Data
	if len(a.Message.Head) > 0 {
		m.Header, err = nats.DecodeHeadersMsg(a.Message.Head)
	}
	return m, err
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
