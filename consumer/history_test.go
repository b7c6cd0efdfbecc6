package consumer

import (
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLeftUnsettled(t *testing.T) {
	for _, c := range []struct{ first, floor, want uint64 }{
		{1, 0, 0}, {1, 50, 0}, {51, 50, 0}, {52, 50, 1}, {100, 50, 49},
	} {
		if got := leftUnsettled(jetstream.StreamState{FirstSeq: c.first}, c.floor); got != c.want {
			t.Errorf("first %d, floor %d: %d left unsettled, want %d", c.first, c.floor, got, c.want)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	day := jetstream.StreamState{Msgs: 100, FirstSeq: 1, LastSeq: 100, Bytes: 100_000, FirstTime: now.Add(-24 * time.Hour), LastTime: now}
	waiting := func(floor uint64, n uint64) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{AckFloor: jetstream.SequenceInfo{Stream: floor}, NumPending: n}
	}
	for name, c := range map[string]struct {
		cfg  jetstream.StreamConfig
		info *jetstream.ConsumerInfo
		want time.Duration
	}{
		"nothing waits":              {jetstream.StreamConfig{MaxAge: time.Hour}, waiting(100, 0), math.MaxInt64},
		"no limits":                  {jetstream.StreamConfig{}, waiting(0, 100), math.MaxInt64},
		"all waits, two days by age": {jetstream.StreamConfig{MaxAge: 48 * time.Hour}, waiting(0, 100), 24 * time.Hour},
		"the newest waits":           {jetstream.StreamConfig{MaxAge: 48 * time.Hour}, waiting(99, 1), 48 * time.Hour},
		"overdue is none left":       {jetstream.StreamConfig{MaxAge: time.Hour}, waiting(0, 100), 0},
		"all waits, twice the bytes": {jetstream.StreamConfig{MaxBytes: 200_000}, waiting(0, 100), 24 * time.Hour},
	} {
		got := timeLeft(&jetstream.StreamInfo{Config: c.cfg, State: day}, c.info, now)
		if diff := got - c.want; diff > time.Second || diff < -time.Second {
			t.Errorf("%s: %s left, want %s", name, got, c.want)
		}
	}
}
