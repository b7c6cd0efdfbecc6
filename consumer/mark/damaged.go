package mark

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// codeConsumerCreate is the server's code for a consumer that it cannot create for
// a reason of its own; a file that it cannot read is the one seen.
const codeConsumerCreate jetstream.ErrorCode = 10012

// Damaged says that NATS can neither open the live consumer nor make it anew,
// because what is left of its state on disk cannot be read: a power cut in the
// middle of a write does that. Nothing is lost, and nothing can be delivered until a
// person has taken it away.
type Damaged struct {
	Stream   string
	Consumer string
	From     uint64 // where consuming goes on then
	err      error
}

// Error says what NATS cannot do.
func (d *Damaged) Error() string {
	return fmt.Sprintf("NATS cannot create the live consumer %s of stream %s; what is left of its state on disk is probably damaged: %v", d.Consumer, d.Stream, d.err)
}

// Hint says how to take it away.
func (d *Damaged) Hint() string {
	return fmt.Sprintf("on each NATS server with that stream: look for %q in its log, stop it, remove the folder .../streams/%s/obs/%s from its store (with the embedded server: below the data folder, in nats/jetstream), start it; then it goes on at sequence %d, and nothing is sent again",
		"corrupt state file", d.Stream, d.Consumer, d.From)
}

// Unwrap gives NATS' own words.
func (d *Damaged) Unwrap() error { return d.err }
