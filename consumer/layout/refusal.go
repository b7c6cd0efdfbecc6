package layout

import (
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Refusal is what the server said when it refused something; nil when err is nothing
// that it said. The client has an error of its own for a few codes alone.
func Refusal(err error) *jetstream.APIError {
	var refused jetstream.JetStreamError
	if !errors.As(err, &refused) {
		return nil
	}
	return refused.APIError()
}

// RefusedWith says whether the server refused something with one of these codes.
func RefusedWith(err error, codes ...jetstream.ErrorCode) bool {
	refused := Refusal(err)
	return refused != nil && slices.Contains(codes, refused.ErrorCode)
}
