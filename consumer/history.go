package consumer

import (
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leftUnsettled is how many events the stream's limits or a purge have taken
// away unsettled since the consumer's floor, at most: some above the floor may
// have been settled out of order.
func leftUnsettled(s jetstream.StreamState, floor uint64) uint64 {
	if s.FirstSeq <= floor+1 {
		return 0
	}
	return s.FirstSeq - 1 - floor
}

// tellLost says that events have left the stream, by its limits or by somebody's
// hand, that had not been settled when it was last looked at. The server moves the
// floor over them, so that nothing shows it afterwards.
func (c *Consumer) tellLost(s jetstream.StreamState, floor uint64) {
	before := c.floor.Swap(floor)
	n := leftUnsettled(s, before)
	if before == 0 || floor < before || n == 0 {
		return
	}
	c.metrics.lostEver.Add(float64(n))
	c.o.Log.Error().Uint64("from", before+1).Uint64("to", s.FirstSeq-1).Uint64("at_most", n).
		Msg("events left the event stream before they were settled, and cannot be delivered; keep more history, and purge only what is settled")
}

// timeLeft estimates when the oldest unsettled event leaves the stream: by age
// closely, by size at the mean rate of the stream's life so far. While nothing
// waits it is as good as for ever: the largest duration, some 292 years.
func timeLeft(stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo, now time.Time) time.Duration {
	left := time.Duration(math.MaxInt64)
	s := stream.State
	if s.Msgs == 0 || info.NumPending == 0 && info.NumAckPending == 0 {
		return left
	}
	oldest := oldestUnsettled(s, info.AckFloor.Stream)
	if maxAge := stream.Config.MaxAge; maxAge > 0 {
		left = min(left, maxAge-now.Sub(oldest))
	}
	if limit := stream.Config.MaxBytes; limit > 0 {
		left = min(left, untilFull(s, info, limit))
	}
	return max(left, 0)
}

// oldestUnsettled places the floor between the stream's first and last event,
// whose times are known without fetching a message.
func oldestUnsettled(s jetstream.StreamState, floor uint64) time.Time {
	span := float64(s.LastSeq - s.FirstSeq)
	if floor < s.FirstSeq || span == 0 {
		return s.FirstTime
	}
	share := float64(floor+1-s.FirstSeq) / span
	return s.FirstTime.Add(time.Duration(share * float64(s.LastTime.Sub(s.FirstTime))))
}

func untilFull(s jetstream.StreamState, info *jetstream.ConsumerInfo, limit int64) time.Duration {
	span := s.LastTime.Sub(s.FirstTime).Seconds()
	if span <= 0 || s.Bytes == 0 {
		return math.MaxInt64
	}
	rate := float64(s.Bytes) / span
	waiting := float64(info.NumPending+uint64(info.NumAckPending)) * float64(s.Bytes) / float64(s.Msgs)
	return time.Duration(min((float64(limit)-waiting)/rate, float64(math.MaxInt64)/1e9) * 1e9)
}
