package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// stuckLookups answers nothing until it is released.
type stuckLookups struct {
	consumer.Endpoints
	released chan struct{}
}

func (s stuckLookups) Target(ctx context.Context, id events.Survey) (*delivery.Target, config.Limits, error) {
	<-s.released
	return s.Endpoints.Target(ctx, id)
}

// A process that no longer works must not look as if it did: whoever asks whether
// it lives is told within two minutes.
func TestAWorkerThatIsStuckIsNotLive(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		released := make(chan struct{})
		w.lookups = func(e consumer.Endpoints) consumer.Endpoints { return stuckLookups{e, released} }
		w.endpoint("s1")
		r := w.start()
		if err := r.consumer.Live(); err != nil {
			t.Errorf("not live at the start: %v", err)
		}
		for range 2 * storySlots {
			w.publish("s1")
		}
		w.advance(2 * time.Minute)
		if r.consumer.Live() == nil {
			t.Error("live although nothing has turned for two minutes")
		}
		close(released)
		w.advance(time.Minute)
		if err := r.consumer.Live(); err != nil {
			t.Errorf("not live when it works again: %v", err)
		}
	})
}
