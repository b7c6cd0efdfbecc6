package consumer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/events"
)

func TestWhatStoodInASocketForLongerThanAckWaitIsLeft(t *testing.T) {
	ended := time.Now()
	for after, want := range map[time.Duration]bool{0: false, time.Second: false, 9900 * time.Millisecond: false, 10 * time.Second: true, time.Hour: true} {
		if got := lapsed(ended, ended.Add(after), 10*time.Second); got != want {
			t.Errorf("after %s: %v, want %v", after, got, want)
		}
	}
}

// restlessBus is the real JetStream; its connection is lost once, as soon as the
// first pull has brought all it was asked for.
type restlessBus struct {
	jetstream.JetStream
	calm bool
}

func (b *restlessBus) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	cons, err := b.JetStream.Consumer(ctx, stream, name)
	return restlessConsumer{cons, b}, err
}

type restlessConsumer struct {
	jetstream.Consumer
	bus *restlessBus
}

func (c restlessConsumer) Fetch(n int, opts ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	batch, err := c.Consumer.Fetch(n, opts...)
	if err != nil || c.bus.calm {
		return batch, err
	}
	c.bus.calm = true
	for len(batch.Messages()) < n {
		time.Sleep(time.Millisecond)
	}
	again := c.bus.Conn().StatusChanged(nats.CONNECTED)
	defer c.bus.Conn().RemoveStatusListener(again)
	if err := c.bus.Conn().ForceReconnect(); err != nil {
		return nil, err
	}
	<-again
	return batch, nil
}

func TestWhatAPullBringsAcrossAReconnectIsGivenBack(t *testing.T) {
	const n = 3
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than AckWait
	defer cancel()
	js := bustest.Start(t)
	l := layout.Layout{Names: events.Names{}, AckWait: 30 * time.Second, LeaseTTL: 15 * time.Second}
	if _, err := provision.Run(ctx, js, l, provision.Ensure, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	c := New(&restlessBus{JetStream: js}, nil, nil, Options{Layout: l})
	if err := c.firstLook(ctx); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := js.Publish(ctx, l.Names.Subject("s1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.ask(ctx, n); !errors.Is(err, errReconnected) {
		t.Fatalf("a pull across a reconnect: %v, want %v", err, errReconnected)
	}
	got := 0
	for got < n && ctx.Err() == nil {
		batch, err := c.ask(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		for range batch.Messages() {
			got++
		}
	}
	if got != n {
		t.Errorf("%d of %d messages came again before AckWait", got, n)
	}
}
