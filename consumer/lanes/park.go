package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// parkTime bounds one parking. Longer, and the event better stays where it is.
const parkTime = 5 * time.Second

// ErrFull says that the lanes stream takes nothing more: events stay
// unacknowledged in the event stream until there is room.
var ErrFull = errors.New("the lanes stream is full")

// The server's codes for a stream that is full, by bytes or by messages.
const (
	codeMaxBytes    jetstream.ErrorCode = 10047 // insufficient storage
	codeStoreFailed jetstream.ErrorCode = 10077 // maximum bytes or messages exceeded
)

// Park stores an event in its survey's lane and returns when the stream has it
// durably. After an error nothing may be let go: the copy may be stored or not,
// and parking the event again is recognised by its source.
func Park(ctx context.Context, js jetstream.JetStream, names events.Names, w Waiting) error {
	ctx, cancel := context.WithTimeout(ctx, parkTime)
	defer cancel()
	ack, err := js.PublishMsg(ctx, w.message(names))
	var api jetstream.JetStreamError
	switch {
	case errors.As(err, &api) && api.APIError() != nil &&
		(api.APIError().ErrorCode == codeStoreFailed || api.APIError().ErrorCode == codeMaxBytes):
		return fmt.Errorf("park event %s of survey %s: %w", w.EventID, w.Survey, ErrFull)
	case err != nil:
		return fmt.Errorf("park event %s of survey %s: %w", w.EventID, w.Survey, err)
	case ack.Stream != names.Lanes():
		return fmt.Errorf("park event %s of survey %s: stream %s took it, not %s", w.EventID, w.Survey, ack.Stream, names.Lanes())
	}
	return nil
}
