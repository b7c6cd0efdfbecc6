package backup

import "github.com/popsee/webhooks/events"

// content is what the messages of a stream are, by which a newer version's are told.
type content uint8

const (
	foreign content = iota // the platform's events, and endpoints, which have no format of ours
	headed                 // messages with Popsee-Format
	valued                 // a bucket's values with a field "format"
)

// place is a stream that is copied.
type place struct {
	stream    string
	content   content
	consumers bool // with the consumers' places
	counted   bool // its creation time means something: see layout.Born
}

// kv is the stream of a bucket.
func kv(bucket string) string { return "KV_" + bucket }

// places are all streams that are copied, in that order; see the package's text.
func places(names events.Names) []place {
	return []place{
		{stream: kv(names.State()), content: valued},
		{stream: kv(names.Replays()), content: valued},
		{stream: names.Stream(), consumers: true, counted: true},
		{stream: names.Lanes(), content: headed},
		{stream: kv(names.Health()), content: valued},
		{stream: names.DeadLetters(), content: headed},
		{stream: names.Attempts(), content: headed, counted: true},
		{stream: kv(names.Endpoints())},
	}
}

func placeOf(names events.Names, stream string) (place, bool) {
	for _, p := range places(names) {
		if p.stream == stream {
			return p, true
		}
	}
	return place{}, false
}
