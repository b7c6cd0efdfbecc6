// Package events says what an event is and what things are called on the bus.
//
// A service that publishes completed responses needs four lines of it:
//
//	nc, err := nats.Connect(url)
//	js, err := jetstream.New(nc)
//	pub := events.NewPublisher(js, events.PublisherOptions{})
//	receipt, err := pub.Publish(ctx, body)
//
// Publish refuses what could never be delivered before it is sent, publishes
// under the survey's own subject with the response id as Nats-Msg-Id, so that a
// repeated publish within two minutes is stored once, and returns when the
// stream has stored the event.
//
// Publish in the same transaction that completes the response, or from an
// outbox table that is emptied after the receipt: an event that was never
// published is the one loss this service cannot prevent.
//
// [Names.Decode] is the other end: the strict check every event passes before it
// is delivered.
package events
