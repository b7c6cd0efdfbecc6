// Package search finds events in the event stream by reading it: a response by its
// id, as `webhooks why` and a replay of one response do.
package search

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// MaxEvent is the largest event a search reads; the service's own limit says whether
// it is delivered.
const MaxEvent = 8 << 20

// Progress hears how far a long piece of work is: what is being done, and how much
// of all of it. It is called from one goroutine at a time.
type Progress func(doing string, done, all int64)

// Stream is an event stream to search. Progress may be nil.
type Stream struct {
	JS       jetstream.JetStream
	Names    events.Names
	Progress Progress
}

// Place is where a response stands in the event stream.
type Place struct {
	Survey   events.Survey // empty: unknown
	Sequence uint64
	Stored   time.Time
	NoEvent  string // why its bytes are no event
}

// Response looks for a response: first among the message ids of its publishers,
// which headers alone tell, and then in every body. A survey, where one is given,
// bounds what is read.
func (s Stream) Response(ctx context.Context, survey events.Survey, id string) ([]Place, error) {
	o := walk.Options{Subjects: s.Names.Subjects()}
	if survey != "" {
		o.Subjects = []string{s.Names.Subjects()[0], s.Names.Subject(survey)}
	}
	found, err := s.byMessageID(ctx, o, survey, id)
	if err != nil || len(found) > 0 {
		return found, err
	}
	o.Bodies = true
	err = s.Each(ctx, o, "searching bodies", func(m walk.Message) error {
		if p, is := s.isIt(m.Subject, m.Body, survey, id); is {
			p.Sequence, p.Stored = m.Sequence, m.Time
			found = append(found, p)
		}
		return nil
	})
	return found, err
}

// byMessageID goes by the message ids: a publisher's is the response's, or ends with
// it. What the body says decides.
func (s Stream) byMessageID(ctx context.Context, o walk.Options, survey events.Survey, id string) (found []Place, err error) {
	stream, err := s.JS.Stream(ctx, s.Names.Stream())
	if err != nil {
		return nil, err
	}
	err = s.Each(ctx, o, "searching headers", func(m walk.Message) error {
		if !strings.HasSuffix(m.Header.Get(jetstream.MsgIDHeader), id) {
			return nil
		}
		raw, err := stream.GetMsg(ctx, m.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // it left the stream this moment
		}
		if err != nil {
			return err
		}
		if p, is := s.isIt(m.Subject, raw.Data, survey, id); is {
			p.Sequence, p.Stored = m.Sequence, m.Time
			found = append(found, p)
		}
		return nil
	})
	return found, err
}

// Each walks the event stream, and tells how far it is.
func (s Stream) Each(ctx context.Context, o walk.Options, doing string, do func(walk.Message) error) error {
	n := int64(0)
	for m, err := range walk.Stream(ctx, s.JS, s.Names.Stream(), o) {
		if err != nil {
			return err
		}
		if err := do(m); err != nil {
			return err
		}
		n++
		if s.Progress != nil {
			s.Progress(doing, n, n+int64(m.Left)) //nolint:gosec // far from what an int64 holds
		}
	}
	return nil
}

// isIt says whether a message is the response. What cannot be decoded is, when it
// holds the id in quotes.
func (s Stream) isIt(subject string, body []byte, survey events.Survey, id string) (Place, bool) {
	e, err := s.Names.DecodeMax(subject, nil, body, MaxEvent)
	if err == nil {
		return Place{Survey: e.Survey}, e.ID == id && (survey == "" || e.Survey == survey)
	}
	return Place{Survey: s.Names.SubjectSurvey(subject), NoEvent: err.Error()}, bytes.Contains(body, []byte(`"`+id+`"`))
}
