package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// ParseEndpoint reads a stored value and checks all of it. Unknown and
// duplicate fields are refused, because a misspelt setting that is silently
// ignored is worse than one that is reported. The error is an [InvalidError].
func ParseEndpoint(s events.Survey, value []byte, rules delivery.Rules) (Endpoint, error) {
	e, err := decodeEndpoint(s, value)
	if err != nil {
		return Endpoint{}, err
	}
	if err := e.Validate(rules); err != nil {
		return Endpoint{}, err
	}
	return e, nil
}

// Encode returns the value to store. It does not validate.
func (e Endpoint) Encode() ([]byte, error) {
	b, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode endpoint of survey %s: %w", e.Survey, err)
	}
	if err := checkSize(len(b)); err != nil {
		return nil, &InvalidError{Survey: e.Survey, Revision: e.Revision, Reason: err}
	}
	return b, nil
}

// decodeEndpoint reads the JSON without judging what it says, so that an
// endpoint that has become invalid can still be shown and repaired.
func decodeEndpoint(s events.Survey, value []byte) (Endpoint, error) {
	e := Endpoint{Survey: s}
	err := checkSize(len(value))
	if err == nil {
		err = checkMembers(value)
	}
	if err == nil {
		err = describe(json.Unmarshal(value, &e, json.RejectUnknownMembers(true)))
	}
	if err != nil {
		return Endpoint{}, &InvalidError{Survey: s, Reason: err}
	}
	return e, nil
}

func checkSize(n int) error {
	if n > MaxEndpointBytes {
		return fmt.Errorf("%d bytes, at most %d are allowed", n, MaxEndpointBytes)
	}
	return nil
}

// checkMembers refuses what the Go type cannot tell from a zero value: null
// anywhere, and a missing url or enabled. Somebody who forgets the switch must
// not switch his endpoint off.
func checkMembers(value []byte) error {
	var url, enabled bool
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		t, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return describe(err)
		}
		if t.Kind() == 'n' {
			return fmt.Errorf("%s: null is not allowed; leave the field out", place(dec.StackPointer()))
		}
		url = url || dec.StackPointer() == "/url"
		enabled = enabled || dec.StackPointer() == "/enabled"
	}
	if !url {
		return errors.New("url: the field is missing")
	}
	if !enabled {
		return errors.New("enabled: the field is missing")
	}
	return nil
}

// describe says what is wrong with a JSON text and where, never quoting a
// value: someone may have pasted a secret where it does not belong.
func describe(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(s, jsontext.ErrDuplicateName) {
			return fmt.Errorf("%s: the field is there twice", place(s.JSONPointer))
		}
		return fmt.Errorf("not valid JSON at byte %d", s.ByteOffset)
	}
	if s, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(s, json.ErrUnknownName) {
			return withHint(fmt.Errorf("%s: unknown field", place(s.JSONPointer)), "fields are "+strings.Join(endpointFields, ", "))
		}
		return fmt.Errorf("%s: wrong type or form (%s)", place(s.JSONPointer), kindName(s.JSONKind))
	}
	return errors.New("not valid JSON")
}

var endpointFields = []string{
	"url", "secrets", "enabled", "headers", "max_in_flight", "rate_per_second", "description", "updated_at",
}

// place is a JSON pointer as people write it, bounded and printable.
func place(p jsontext.Pointer) string {
	s := strings.TrimPrefix(string(p), "/")
	if s == "" {
		return "endpoint"
	}
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r != '…' {
			return '?'
		}
		return r
	}, s)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{', '}':
		return "an object"
	case '[', ']':
		return "a list"
	default:
		return "a value"
	}
}
