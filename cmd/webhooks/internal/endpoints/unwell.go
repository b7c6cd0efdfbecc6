package endpoints

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/events"
)

// Unwell gives the records of all endpoints with which something is wrong.
func Unwell(ctx context.Context, js jetstream.JetStream, names events.Names) (map[events.Survey]health.Record, error) {
	found := map[events.Survey]health.Record{}
	for e, err := range health.List(ctx, js, names) {
		if err != nil {
			return nil, err
		}
		found[e.Survey] = e.Record
	}
	return found, nil
}
