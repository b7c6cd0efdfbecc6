package layout

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Conflict says whether a compare-and-set on a key was lost to another one: the key
// was there already, or had another revision. A cluster says so with another code
// than a single server, and the client has an error for each.
func Conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}
