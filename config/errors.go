package config

import (
	"errors"
	"fmt"

	"github.com/popsee/webhooks/events"
)

var (
	// ErrNoEndpoint says that nothing is owed for a survey: it has no endpoint,
	// or its owner has switched it off.
	ErrNoEndpoint = errors.New("survey has no webhook endpoint")

	// ErrInvalidEndpoint says that the stored value cannot be used as it is.
	// The error wrapping it gives the reason.
	ErrInvalidEndpoint = errors.New("webhook endpoint is not valid")

	// ErrUnsealable says that a secret cannot be opened with the key ring of
	// this process. It is our fault, never the endpoint's.
	ErrUnsealable = errors.New("endpoint secret cannot be unsealed")

	// ErrConflict says that somebody else changed the endpoint first.
	ErrConflict = errors.New("webhook endpoint was changed meanwhile")

	// ErrUnavailable says that the bucket could not be asked, so that nobody
	// knows whether the survey has an endpoint.
	ErrUnavailable = errors.New("endpoint bucket cannot be asked")
)

// InvalidError is why the endpoint of a survey cannot be used. It is an
// [ErrInvalidEndpoint] and never quotes a secret.
type InvalidError struct {
	Survey   events.Survey
	Revision uint64 // 0 when the endpoint was never stored
	Reason   error
}

// Error names the survey and the reason.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("endpoint of survey %s: %v", e.Survey, e.Reason)
}

// Unwrap makes the error an [ErrInvalidEndpoint] and gives its reason.
func (e *InvalidError) Unwrap() []error { return []error{ErrInvalidEndpoint, e.Reason} }

// hinted is an error of the person at the keyboard, with what to do about it.
type hinted struct {
	error
	hint string
}

func withHint(err error, hint string) error { return hinted{err, hint} }

// Hint says what to do about the error.
func (h hinted) Hint() string { return h.hint }

// Unwrap gives the error itself.
func (h hinted) Unwrap() error { return h.error }
