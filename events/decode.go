package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxBytes is the largest event delivered unless a deployment says otherwise.
const MaxBytes = 1 << 20

// maxDepth bounds nesting far above any survey's answers, and far below what
// would cost the stack anything.
const maxDepth = 500

// Decode checks one message of the event stream and reads what delivery needs
// from it, in one pass. It refuses what is not exactly one JSON object with the
// promised fields: duplicate keys, bad UTF-8, wrong types, trailing bytes.
// Unknown fields pass, checked but untouched. The event's body is body itself.
//
// header is the message's NATS header and may be nil; its keys are case
// sensitive. The error is always a [*BadEvent].
func (n Names) Decode(subject string, header map[string][]string, body []byte) (Event, error) {
	return n.DecodeMax(subject, header, body, MaxBytes)
}

// DecodeMax is [Names.Decode] with a deployment's own size limit, in bytes.
func (n Names) DecodeMax(subject string, header map[string][]string, body []byte, maxBytes int) (Event, error) {
	if len(body) > maxBytes {
		return Event{}, &BadEvent{TooLarge, int64(maxBytes), fmt.Sprintf("%d bytes, the limit is %d", len(body), maxBytes)}
	}
	e := Event{Body: body}
	if err := scan(body, &e); err != nil {
		return Event{}, err
	}
	if err := n.agree(subject, e.Survey); err != nil {
		return Event{}, err
	}
	e.Traceparent, e.Tracestate = trace(header)
	return e, nil
}

// agree checks that a subject that names a survey names the body's.
func (n Names) agree(subject string, survey Survey) error {
	base := n.subject(base)
	rest, ok := strings.CutPrefix(subject, base)
	switch {
	case !ok || rest != "" && (rest[0] != '.' || strings.Contains(rest[1:], ".")):
		return &BadEvent{SurveyMismatch, 0, fmt.Sprintf("subject %s is not %s or %s.<survey id>", quoteShort(subject), base, base)}
	case rest != "" && rest[1:] != string(survey):
		return &BadEvent{SurveyMismatch, 0, fmt.Sprintf("the subject names survey %s, the body %s", quoteShort(rest[1:]), quoteShort(string(survey)))}
	default:
		return nil
	}
}

// scanner is a decoder kept between events; its buffer reads the body in place.
type scanner struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
}

var scanners = sync.Pool{New: func() any {
	s := &scanner{}
	s.dec = jsontext.NewDecoder(&s.buf)
	return s
}}

// scan reads the promised fields into e.
func scan(body []byte, e *Event) error {
	s := scanners.Get().(*scanner)
	s.buf = *bytes.NewBuffer(body)
	s.dec.Reset(&s.buf)
	err := s.event(e)
	bad := s.bad(err)
	s.buf = bytes.Buffer{} // the body is the message's, not the pool's
	scanners.Put(s)
	return bad
}

// event reads the whole body: one object, and nothing behind it.
func (s *scanner) event(e *Event) error {
	var have fields
	err := s.object("an event", func(name []byte) error {
		switch string(name) {
		case "event":
			return s.kind(e, &have)
		case "timestamp":
			return s.timestamp(e, &have)
		case "survey":
			return s.object("survey", func(name []byte) error { return s.survey(name, e, &have) })
		case "response":
			return s.object("response", func(name []byte) error { return s.response(name, e, &have) })
		default:
			return s.skip()
		}
	})
	if err != nil {
		return err
	}
	if err := have.complete(); err != nil {
		return err
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("bytes follow the event")
	}
	return nil
}

// fields are the promised ones that were there.
type fields struct{ event, timestamp, survey, response bool }

func (f fields) complete() error {
	for _, m := range [...]struct {
		there bool
		name  string
	}{{f.event, "event"}, {f.timestamp, "timestamp"}, {f.survey, "survey.id"}, {f.response, "response.id"}} {
		if !m.there {
			return errors.New(m.name + " is missing")
		}
	}
	return nil
}

func (s *scanner) kind(e *Event, have *fields) error {
	v, err := s.text("event")
	if err != nil {
		return err
	}
	if string(v) != KindCompleted {
		return fmt.Errorf("event is %s, want %q", quoteShort(string(v)), KindCompleted)
	}
	e.Kind, have.event = KindCompleted, true
	return nil
}

func (s *scanner) timestamp(e *Event, have *fields) error {
	v, err := s.text("timestamp")
	if err != nil {
		return err
	}
	if err := e.Time.UnmarshalText(v); err != nil {
		return fmt.Errorf("timestamp is %s, want RFC 3339 like %s", quoteShort(string(v)), time.RFC3339)
	}
	have.timestamp = true
	return nil
}

func (s *scanner) survey(name []byte, e *Event, have *fields) error {
	if string(name) != "id" {
		return s.skip()
	}
	v, err := s.text("survey.id")
	if err != nil {
		return err
	}
	if e.Survey, err = ParseSurvey(string(v)); err != nil {
		return fmt.Errorf("survey.id is %s, want 1 to %d letters, digits, - and _", quoteShort(string(v)), maxSurvey)
	}
	have.survey = true
	return nil
}

func (s *scanner) response(name []byte, e *Event, have *fields) error {
	if string(name) != "id" {
		return s.skip()
	}
	v, err := s.text("response.id")
	if err != nil {
		return err
	}
	if !validID(v) {
		return fmt.Errorf("response.id is %s, want 1 to %d printable ASCII characters without blanks", quoteShort(string(v)), maxID)
	}
	e.ID, have.response = string(v), true
	return nil
}

// object reads one object, calling field at each name. field must read exactly
// the value.
func (s *scanner) object(what string, field func(name []byte) error) error {
	if k := s.dec.PeekKind(); k != '{' {
		return s.wrong(what, "an object", k)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for s.dec.PeekKind() == '"' {
		name, err := s.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := field(unquote(name)); err != nil {
			return err
		}
	}
	_, err := s.dec.ReadToken()
	return err
}

// text reads one string value; it is valid until the next read.
func (s *scanner) text(what string) ([]byte, error) {
	if k := s.dec.PeekKind(); k != '"' {
		return nil, s.wrong(what, "a string", k)
	}
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	return unquote(v), nil
}

// skip checks a value without keeping it.
func (s *scanner) skip() error {
	if k := s.dec.PeekKind(); k != '{' && k != '[' {
		return s.dec.SkipValue()
	}
	depth := s.dec.StackDepth()
	for {
		if _, err := s.dec.ReadToken(); err != nil {
			return err
		}
		switch d := s.dec.StackDepth(); {
		case d == depth:
			return nil
		case d > maxDepth:
			return fmt.Errorf("nested deeper than %d", maxDepth)
		}
	}
}

// unquote returns a JSON string's content. One without escapes, and so nearly
// every name and id, is returned in place.
func unquote(v []byte) []byte {
	if !bytes.ContainsRune(v, '\\') {
		return v[1 : len(v)-1]
	}
	out, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil // the decoder has checked it already
	}
	return out
}

func (s *scanner) wrong(what, want string, k jsontext.Kind) error {
	if k == 0 { // the peek failed: the read says why
		if _, err := s.dec.ReadToken(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is %s, want %s", what, k, want)
}

// bad turns what went wrong into a [*BadEvent] with its position.
func (s *scanner) bad(err error) error {
	if err == nil {
		return nil
	}
	b := &BadEvent{Reason: Malformed, Offset: s.dec.InputOffset(), Detail: err.Error()}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		b.Offset = syntax.ByteOffset
		b.Detail = "not valid JSON: " + syntax.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		b.Detail = "it ends too early"
	}
	return b
}
