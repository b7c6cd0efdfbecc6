package events_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// exampleBus stands in for your NATS: a real server with the event stream.
func exampleBus() (js jetstream.JetStream, stop func()) {
	dir, err := os.MkdirTemp("", "events")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		log.Fatal(err)
	}
	if js, err = jetstream.New(nc); err != nil {
		log.Fatal(err)
	}
	var n events.Names
	if _, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: n.Stream(), Subjects: n.Subjects()}); err != nil {
		log.Fatal(err)
	}
	return js, func() {
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}

// Publish one completed response.
func ExamplePublisher_Publish() {
	js, stop := exampleBus()
	defer stop()

	body, err := events.ResponseCompleted{
		Timestamp: time.Now(),
		Survey:    events.SurveyRef{ID: "550e8400-e29b-41d4-a716-446655440000"},
		Response:  events.SurveyResponse{ID: "7c9e6679-7425-40de-944b-e07fc1f90ae7", Answers: []events.Answer{{QuestionID: "q1", Value: 9}}},
	}.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := events.NewPublisher(js, events.PublisherOptions{}).Publish(context.Background(), body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("stored in %s at sequence %d\n", receipt.Stream, receipt.Sequence)
	// Output: stored in RESPONSES at sequence 1
}

// Publish many, as from an outbox table: keep what failed, and publish it again.
func ExamplePublisher_PublishAll() {
	js, stop := exampleBus()
	defer stop()

	outbox := [][]byte{
		[]byte(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"},"response":{"id":"r1"}}`),
		[]byte(`{"event":"response.completed","timestamp":"2024-01-22T12:00:01Z","survey":{"id":"s1"},"response":{"id":"r2"}}`),
		[]byte(`{"event":"response.completed","timestamp":"2024-01-22T12:00:02Z","survey":{"id":"s1"}}`),
	}
	summary, err := events.NewPublisher(js, events.PublisherOptions{}).PublishAll(context.Background(), slices.Values(outbox),
		func(i int, _ events.Receipt, err error) {
			if err != nil {
				fmt.Printf("row %d stays in the outbox: %v\n", i, err)
			}
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d published, %d refused\n", summary.Published, summary.Refused)
	// Output:
	// row 2 stays in the outbox: malformed event at byte 86: response.id is missing
	// 2 published, 1 refused
}

// row is one line of an outbox table: written in the transaction that completes
// the response, deleted when the stream has the event.
type row struct {
	response string
	body     []byte
}

// Empty an outbox. Dying anywhere in this loop publishes a row twice at worst, and
// the stream stores it once.
func Example_outbox() {
	js, stop := exampleBus()
	defer stop()
	pub := events.NewPublisher(js, events.PublisherOptions{})

	outbox := []row{
		{"r1", []byte(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"},"response":{"id":"r1"}}`)},
		{"r2", []byte(`{"event":"response.completed","timestamp":"yesterday","survey":{"id":"s1"},"response":{"id":"r2"}}`)},
	}
	for _, r := range outbox {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		receipt, err := pub.Publish(ctx, r.body)
		cancel()
		switch {
		case errors.As(err, new(*events.BadEvent)):
			fmt.Printf("%s: set aside, it never gets better: %v\n", r.response, err)
		case err != nil:
			fmt.Printf("%s: stays, the next round publishes it again: %v\n", r.response, err)
		default:
			fmt.Printf("%s: deleted, stored at sequence %d\n", r.response, receipt.Sequence)
		}
	}
	// Output:
	// r1: deleted, stored at sequence 1
	// r2: set aside, it never gets better: malformed event at byte 53: timestamp is "yesterday", want RFC 3339 like 2006-01-02T15:04:05Z07:00
}
