package lanes

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// emptied empties a stream as soon as the server has counted what a reader is to read.
type emptied struct{ jetstream.JetStream }

func (e emptied) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := e.JetStream.Stream(ctx, name)
	return emptiedStream{s}, err
}

type emptiedStream struct{ jetstream.Stream }

func (e emptiedStream) OrderedConsumer(ctx context.Context, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	c, err := e.Stream.OrderedConsumer(ctx, cfg)
	if err == nil {
		err = e.Purge(ctx)
	}
	return deaf{c}, err
}

// deaf is a consumer whose reader cannot be stopped while it waits: the client loses that
// while it makes another consumer.
type deaf struct{ jetstream.Consumer }

func (d deaf) Messages(opts ...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	m, err := d.Consumer.Messages(opts...)
	return &deafMessages{MessagesContext: m}, err
}

type deafMessages struct {
	jetstream.MessagesContext
	waits atomic.Bool
}

func (d *deafMessages) Next(opts ...jetstream.NextOpt) (jetstream.Msg, error) {
	d.waits.Store(true)
	defer d.waits.Store(false)
	return d.MessagesContext.Next(opts...)
}

func (d *deafMessages) Stop() {
	if !d.waits.Load() {
		d.MessagesContext.Stop()
	}
}

// TestAllHasComeAlsoWhenWhatWasCountedIsRemovedBeforeItIsSent: else nothing is brought
// into the lanes of those shards, and no lane of theirs ends.
func TestAllHasComeAlsoWhenWhatWasCountedIsRemovedBeforeItIsSent(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		must(t, Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Parked: time.Now(), Published: time.Now(), Body: []byte("{}")}))
		o := New(emptied{js}, nil, Options{})
		s := newShard(t.Context(), o, &leases.Lease{Shard: o.o.Names.Shard("s1")})
		f := o.join(s)
		select {
		case got := <-s.fed:
			if !got.caughtUp {
				t.Errorf("got %+v, want that all has come", got)
			}
		case <-time.After(time.Minute):
			t.Error("in a minute nobody has said that all has come")
		}
		f.leave(s)
	})
}
