package deliverylog_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/events"
)

// What failed at one survey's endpoint within the last hour.
func ExampleRead() {
	show := func(ctx context.Context, js jetstream.JetStream) error {
		failed := deliverylog.Filter{Survey: "550e8400", Failed: true, Since: time.Now().Add(-time.Hour)}
		for r, err := range deliverylog.Read(ctx, js, events.Names{}, failed) {
			if err != nil {
				return err
			}
			fmt.Println(r.At, r.EventID, r.Reason, r.Status, r.Took)
		}
		return nil
	}
	_ = show
}
