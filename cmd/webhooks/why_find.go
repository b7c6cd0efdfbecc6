package main

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// maxSearched is the largest event a search reads; the service's own limit says
// whether it is delivered.
const maxSearched = 8 << 20

// place is where a response stands in the event stream.
type place struct {
	survey   events.Survey // empty: unknown
	sequence uint64
	stored   time.Time
	noEvent  string // why its bytes are no event
}

// search looks for a response in the event stream: first among the message ids of
// its publishers, which headers alone tell, and then in every body.
func (s *session) search(w *world, survey events.Survey, id string) ([]place, error) {
	o := walk.Options{Subjects: s.names.Subjects()}
	if survey != "" {
		o.Subjects = []string{s.names.Subjects()[0], s.names.Subject(survey)}
	}
	found, err := s.searchIDs(w, o, survey, id)
	if err != nil || len(found) > 0 {
		return found, err
	}
	o.Bodies = true
	return found, s.each(w, o, "searching bodies", func(m walk.Message) error {
		if p, is := s.isIt(m.Subject, m.Body, survey, id); is {
			p.sequence, p.stored = m.Sequence, m.Time
			found = append(found, p)
		}
		return nil
	})
}

// searchIDs goes by the message ids: a publisher's is the response's, or ends with
// it. What the body says decides.
func (s *session) searchIDs(w *world, o walk.Options, survey events.Survey, id string) (found []place, err error) {
	stream, err := s.js.Stream(w.ctx, s.names.Stream())
	if err != nil {
		return nil, err
	}
	return found, s.each(w, o, "searching headers", func(m walk.Message) error {
		if !strings.HasSuffix(m.Header.Get(jetstream.MsgIDHeader), id) {
			return nil
		}
		raw, err := stream.GetMsg(w.ctx, m.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil // it left the stream this moment
		}
		if err != nil {
			return err
		}
		if p, is := s.isIt(m.Subject, raw.Data, survey, id); is {
			p.sequence, p.stored = m.Sequence, m.Time
			found = append(found, p)
		}
		return nil
	})
}

// each walks the event stream, and shows how far it is.
func (s *session) each(w *world, o walk.Options, doing string, do func(walk.Message) error) error {
	bar, n := w.newProgress(doing), int64(0)
	defer bar.end()
	for m, err := range walk.Stream(w.ctx, s.js, s.names.Stream(), o) {
		if err != nil {
			return err
		}
		if err := do(m); err != nil {
			return err
		}
		n++
		bar.step(n, n+int64(m.Left)) //nolint:gosec // far from what an int64 holds
	}
	return nil
}

// isIt says whether a message is the response. What cannot be decoded is, when it
// holds the id in quotes.
func (s *session) isIt(subject string, body []byte, survey events.Survey, id string) (place, bool) {
	e, err := s.names.DecodeMax(subject, nil, body, maxSearched)
	if err == nil {
		return place{survey: e.Survey}, e.ID == id && (survey == "" || e.Survey == survey)
	}
	return place{survey: s.names.SubjectSurvey(subject), noEvent: err.Error()}, bytes.Contains(body, []byte(`"`+id+`"`))
}
