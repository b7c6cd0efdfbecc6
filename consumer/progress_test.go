package consumer

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
)

// A message that is settled between the look at what is in hand and the telling is
// no reason to leave out those behind it.
func TestProgressIsToldOfAllButWhatWasSettled(t *testing.T) {
	js := bustest.Start(t)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	cons, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	c := New(js, nil, nil, Options{})
	for seq := uint64(1); seq <= 3; seq++ {
		if _, err := js.Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
		msg, err := cons.Next()
		if err != nil {
			t.Fatal(err)
		}
		c.live.inflight.enter(seq, msg, time.Now())
		if seq == 1 {
			if err := msg.Ack(); err != nil { // and it is still in the list
				t.Fatal(err)
			}
		}
	}
	told, err := js.Conn().SubscribeSync("$JS.ACK.S.>")
	if err != nil {
		t.Fatal(err)
	}
	c.tellProgress(time.Now().Add(progressAfter))
	for range 2 {
		if _, err := told.NextMsg(5 * time.Second); err != nil {
			t.Fatalf("progress of one of the two others was not told: %v", err)
		}
	}
}
