package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// bus starts a real JetStream server in the process.
func bus(t testing.TB) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func stream(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	var n events.Names
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: n.Stream(), Subjects: n.Subjects()}); err != nil {
		t.Fatal(err)
	}
}

func TestPublishStoresTheBytesUnderTheSurveysSubject(t *testing.T) {
	js := bus(t)
	stream(t, js)
	pub := events.NewPublisher(js, events.PublisherOptions{})
	r, err := pub.Publish(t.Context(), []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), r.Stream)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := s.GetMsg(t.Context(), r.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != "responses.completed.550e8400-e29b-41d4-a716-446655440000" || string(msg.Data) != full || msg.Header.Get("Nats-Msg-Id") != r.ID {
		t.Errorf("stored under %s with id %s:\n%s", msg.Subject, msg.Header.Get("Nats-Msg-Id"), msg.Data)
	}
	again, err := pub.Publish(t.Context(), []byte(full))
	if err != nil || !again.Duplicate || again.Sequence != r.Sequence {
		t.Errorf("publishing it again gave %+v (%v)", again, err)
	}
}

func TestPublishRefusesBeforeAnythingIsSent(t *testing.T) {
	js := bus(t)
	stream(t, js)
	_, err := events.NewPublisher(js, events.PublisherOptions{}).Publish(t.Context(), []byte(`{"event":1}`))
	if _, ok := errors.AsType[*events.BadEvent](err); !ok {
		t.Errorf("got %v", err)
	}
	s, err := js.Stream(t.Context(), "RESPONSES")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestPublishSaysWhenNothingListens(t *testing.T) {
	pub := events.NewPublisher(bus(t), events.PublisherOptions{})
	if _, err := pub.Publish(t.Context(), []byte(full)); !errors.Is(err, events.ErrNoStream) {
		t.Errorf("got %v", err)
	}
	sum, err := pub.PublishAll(t.Context(), slices.Values([][]byte{[]byte(full)}), nil)
	if err != nil || sum.Failed != 1 {
		t.Errorf("got %+v (%v)", sum, err)
	}
}

func TestPublishAllAwaitsEveryAcknowledgementInOrder(t *testing.T) {
	js := bus(t)
	stream(t, js)
	var bodies [][]byte
	for i := range 2000 {
		bodies = append(bodies, []byte(ids(`"s1"`, fmt.Sprintf(`"r%d"`, i/2)))) // each twice
	}
	bodies = append(bodies, []byte("{}"))
	next := 0
	sum, err := events.NewPublisher(js, events.PublisherOptions{}).PublishAll(t.Context(), slices.Values(bodies), func(i int, r events.Receipt, err error) {
		if i != next {
			t.Errorf("done %d came in place %d", i, next)
		}
		next++
		if (err != nil) != (i == 2000) {
			t.Errorf("%d: %v", i, err)
		}
	})
	want := events.Summary{Published: 2000, Duplicates: 1000, Refused: 1}
	if err != nil || sum != want || next != 2001 {
		t.Errorf("got %+v (%v) after %d, want %+v", sum, err, next, want)
	}
}

func TestPublishAllEndsWithItsContext(t *testing.T) {
	js := bus(t)
	stream(t, js)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sum, err := events.NewPublisher(js, events.PublisherOptions{}).PublishAll(ctx, slices.Values([][]byte{[]byte(full)}), nil)
	if !errors.Is(err, context.Canceled) || sum != (events.Summary{}) {
		t.Errorf("got %+v (%v)", sum, err)
	}
}

func TestEncodeRefusesWhatCouldNotBeDelivered(t *testing.T) {
	r := events.ResponseCompleted{Timestamp: time.Now(), Survey: events.SurveyRef{ID: "s1"}, Response: events.SurveyResponse{ID: "r1"}}
	if body, err := r.Encode(); err != nil || !strings.Contains(string(body), `"event":"response.completed"`) {
		t.Errorf("got %s (%v)", body, err)
	}
	r.Survey.ID = "a.b"
	if _, err := r.Encode(); err == nil {
		t.Error("an invalid survey id is encoded")
	}
	r.Survey.ID, r.Response.Answers = "s1", []events.Answer{{QuestionID: "q", Value: func() {}}}
	if _, err := r.Encode(); err == nil {
		t.Error("a value JSON cannot hold is encoded")
	}
}
