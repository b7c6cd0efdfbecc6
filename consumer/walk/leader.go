package walk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// codeNoMessage is what the server says when nothing follows: JSNoMessageFoundErr.
const codeNoMessage = 10037

// Left asks the stream's leader whether it holds anything between two sequences,
// both included, on any of these subjects; none means all. A consumer cannot answer
// that: on a cluster it stands on a server that may not have heard of the latest
// messages yet, and says that none are pending.
func Left(ctx context.Context, js jetstream.JetStream, stream string, subjects []string, from, to uint64) (bool, error) {
	for _, s := range orAll(subjects) {
		m, err := ask(ctx, js, stream, question{Seq: max(from, 1), NextFor: s})
		if err != nil {
			return false, err
		}
		if m.Seq != 0 && m.Seq <= to {
			return true, nil
		}
	}
	return false, nil
}

// orAll is the subjects, or where there are none the one that is all of them.
func orAll(subjects []string) []string {
	if len(subjects) == 0 {
		return []string{">"}
	}
	return subjects
}

// question is put to STREAM.MSG.GET, which the leader alone answers. The client asks
// whoever is near where a stream allows that.
type question struct {
	Seq     uint64 `json:"seq,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
}

// found is zero when there is no such message.
type found struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
}

func ask(ctx context.Context, js jetstream.JetStream, stream string, q question) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	b, err := json.Marshal(q)
	if err != nil {
		return found{}, err
	}
	msg, err := js.Conn().RequestWithContext(ctx, prefix(js)+"STREAM.MSG.GET."+stream, b)
	if err != nil {
		return found{}, fmt.Errorf("ask the leader of stream %s: %w", stream, err)
	}
	var answer struct {
		Message found               `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(msg.Data, &answer); {
	case err != nil:
		return found{}, fmt.Errorf("ask the leader of stream %s: %w", stream, err)
	case answer.Error == nil:
		return answer.Message, nil
	case answer.Error.ErrorCode == codeNoMessage:
		return found{}, nil
	}
	return found{}, fmt.Errorf("ask the leader of stream %s: %w", stream, answer.Error)
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

// errLagging says that the reader knew of less than there is.
var errLagging = errors.New("the reader had not heard of everything")

// ended looks behind an end that a reader found, at what the leader holds.
func (w *walker) ended(ctx context.Context, filters []string) error {
	if w.next > w.end {
		return errEnough
	}
	var left bool
	var err error
	if w.next == 0 && !w.o.Since.IsZero() {
		left, err = w.leftSince(ctx, filters)
	} else {
		left, err = Left(ctx, w.js, w.name, filters, w.next, w.end)
	}
	switch {
	case err != nil:
		return err
	case left:
		return errLagging
	}
	return errEnough
}

// leftSince says whether the last message there is should have been read. It cannot
// be asked for by time what follows a sequence; what came after the walk began says nothing.
func (w *walker) leftSince(ctx context.Context, filters []string) (bool, error) {
	for _, s := range orAll(filters) {
		m, err := ask(ctx, w.js, w.name, question{LastFor: s})
		if err != nil {
			return false, err
		}
		if m.Seq != 0 && m.Seq <= w.end && !m.Time.Before(w.o.Since) {
			return true, nil
		}
	}
	return false, nil
}
