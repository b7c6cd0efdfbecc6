// Package replays is what can be done with replays: planned, rehearsed, started,
// looked at, paused, resumed and cancelled. The command line and the admin API both
// stand on it, so that they cannot come to different ends.
package replays

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/cmd/webhooks/internal/search"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// askTime bounds one question to NATS.
const askTime = 15 * time.Second

// Desk works on the replays of one deployment. It holds nothing that needs closing.
type Desk struct {
	js       jetstream.JetStream
	names    events.Names
	progress search.Progress
}

// New returns a desk. Progress hears of what takes long; it may be nil.
func New(js jetstream.JetStream, names events.Names, progress search.Progress) *Desk {
	return &Desk{js: js, names: names, progress: progress}
}

func (d *Desk) stream() search.Stream {
	return search.Stream{JS: d.js, Names: d.names, Progress: d.progress}
}

func (d *Desk) editor(ctx context.Context) (*config.Editor, error) {
	kv, err := walk.Bucket(ctx, d.js, d.names.Endpoints())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", d.names.Endpoints(), err)
	}
	return config.NewEditor(kv, endpoints.Lenient()), nil
}

// asked runs one question within its time.
func asked[T any](ctx context.Context, question func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return question(ctx)
}
