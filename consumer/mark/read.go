package mark

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// Position is what the mark says.
type Position struct {
	Floor   uint64    // every sequence of the event stream up to here is settled
	Created time.Time // of the event stream that counts so
	At      time.Time // when the floor was last seen to move, by a replica's clock
}

// Read reads the mark, once. known is false before the first start.
func Read(ctx context.Context, js jetstream.JetStream, names events.Names) (p Position, known bool, err error) {
	kv, err := js.KeyValue(ctx, names.State())
	if err != nil {
		return Position{}, false, fmt.Errorf("open bucket %s: %w", names.State(), err)
	}
	m, _, err := readMark(ctx, kv)
	if err != nil || m == nil {
		return Position{}, false, err
	}
	return Position{m.Floor, m.Created, m.At}, true, nil
}
