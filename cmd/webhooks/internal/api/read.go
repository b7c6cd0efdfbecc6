package api

import (
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// read reads a body strictly; what says what it should be. What is wrong is named by
// its place alone: the value there may be a secret.
func read[T any](r *http.Request, what string) (in T, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return in, problem{Title: "Not JSON", Status: http.StatusUnsupportedMediaType, Detail: "send " + what + " as application/json"}
	}
	err = json.UnmarshalRead(r.Body, &in, json.RejectUnknownMembers(true))
	if err == nil {
		return in, nil
	}
	if large, is := errors.AsType[*http.MaxBytesError](err); is {
		return in, problem{Title: "Too large", Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("%s has at most %d bytes", what, large.Limit)}
	}
	if at, ok := errors.AsType[*json.SemanticError](err); ok {
		is := "not what belongs there"
		if errors.Is(err, json.ErrUnknownName) {
			is = "no field of " + what + " that can be set"
		}
		return in, badRequest(fmt.Sprintf("the body at %s: %s", at.JSONPointer, is))
	}
	if at, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return in, badRequest(fmt.Sprintf("the body is not JSON, or has a field twice, at byte %d", at.ByteOffset))
	}
	return in, badRequest("the body is not JSON")
}
