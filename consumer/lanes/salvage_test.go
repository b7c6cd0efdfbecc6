package lanes

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
)

func TestWhatIsAboutToLeaveTheEventStream(t *testing.T) {
	month := 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		config    jetstream.StreamConfig
		bytes     uint64
		seq       uint64
		published time.Duration // before now
		leaving   bool
	}{
		"young, in a stream without limits":             {seq: 1, published: 10 * month},
		"in the last tenth of its time":                 {config: jetstream.StreamConfig{MaxAge: month}, seq: 500, published: 28 * 24 * time.Hour, leaving: true},
		"not yet in the last tenth":                     {config: jetstream.StreamConfig{MaxAge: month}, seq: 500, published: 26 * 24 * time.Hour},
		"among the first of a full stream":              {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 150, leaving: true},
		"among the last of a full stream":               {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 900},
		"among the first of a stream with room":         {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 500, seq: 101},
		"among the first of a stream full by its count": {config: jetstream.StreamConfig{MaxMsgs: 910}, seq: 101, leaving: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := history{first: 101, last: 1000, bytes: c.bytes, at: start, config: c.config}
			if got := h.leaving(c.seq, start.Add(-c.published)); got != c.leaving {
				t.Errorf("it is leaving: %v", got)
			}
			r := health.Record{OwedFrom: c.seq, Since: start.Add(-c.published)}
			if got := h.endangers(r); got != c.leaving {
				t.Errorf("what is owed from there is in danger: %v", got)
			}
		})
	}
}
