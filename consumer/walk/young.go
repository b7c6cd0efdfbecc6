package walk

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	youngFor   = 2 * time.Second
	youngPause = 20 * time.Millisecond
)

// Again waits a moment and says that a pull is to be tried again: nobody answered
// it, and the consumer was made just now. In a cluster the word of a new consumer
// and the answer to who made it go different ways, and the answer may be first.
func Again(ctx context.Context, made time.Time, err error) bool {
	if !errors.Is(err, nats.ErrNoResponders) || time.Since(made) > youngFor {
		return false
	}
	t := time.NewTimer(youngPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
