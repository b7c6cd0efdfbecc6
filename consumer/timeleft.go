package consumer

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TimeLeft estimates when the oldest unsettled event leaves the event stream by
// its limits, from what the server says of the stream and of the live consumer.
// While nothing waits it is as good as for ever: the largest duration, some 292
// years.
func TimeLeft(stream *jetstream.StreamInfo, live *jetstream.ConsumerInfo, now time.Time) time.Duration {
	return timeLeft(stream, live, now)
}
