package lanes

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

func TestWhatIsAboutToLeaveTheEventStream(t *testing.T) {
	month := 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		config    jetstream.StreamConfig
		bytes     uint64
		seq       uint64
		published time.Duration // before now
		behind    time.Duration // the oldest
		leaving   bool
		now       bool
	}{
		"young, in a stream without limits":             {seq: 1, published: 10 * month},
		"in the last tenth of its time":                 {config: jetstream.StreamConfig{MaxAge: month}, seq: 500, published: 28 * 24 * time.Hour, leaving: true},
		"not yet in the last tenth":                     {config: jetstream.StreamConfig{MaxAge: month}, seq: 500, published: 26 * 24 * time.Hour},
		"in the last minutes of its time":               {config: jetstream.StreamConfig{MaxAge: month}, seq: 500, published: month - 9*time.Minute, leaving: true, now: true},
		"among the first of a full stream":              {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 150, published: month, behind: time.Hour, leaving: true},
		"among those of a minute ago of a full stream":  {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 150, published: month, behind: time.Minute, leaving: true, now: true},
		"among the very first of a full stream":         {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 108, published: month, behind: time.Hour, leaving: true, now: true},
		"among the last of a full stream":               {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 950, seq: 900},
		"among the first of a stream with room":         {config: jetstream.StreamConfig{MaxBytes: 1000}, bytes: 500, seq: 101},
		"among the first of a stream full by its count": {config: jetstream.StreamConfig{MaxMsgs: 910}, seq: 101, leaving: true, now: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := history{first: 101, last: 1000, bytes: c.bytes, at: start, oldest: start.Add(-c.published - c.behind), config: c.config}
			if got := h.leaving(c.seq, start.Add(-c.published)); got != c.leaving {
				t.Errorf("it is leaving: %v", got)
			}
			if got := h.leavingNow(c.seq, start.Add(-c.published)); got != c.now {
				t.Errorf("it is leaving within minutes: %v", got)
			}
			if got := h.endangers(c.seq, true); got != c.leaving && c.behind == 0 {
				t.Errorf("what is owed from there is in danger: %v", got)
			}
			if got := h.endangers(c.seq, false); got != h.next(c.seq) {
				t.Errorf("when nobody asks for its age it is in danger: %v", got)
			}
		})
	}
}

// publishFirst publishes so many events, of which the first are of survey s1.
func publishFirst(t *testing.T, js jetstream.JetStream, own, all int) {
	t.Helper()
	names := events.Names{}
	for i := range all {
		subject, body := names.Subject("other"), "{}"
		if i < own {
			subject = names.Subject("s1")
			body = fmt.Sprintf(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","survey":{"id":"s1"},"response":{"id":"r%d"}}`, i)
		}
		_, err := js.PublishAsync(subject, []byte(body))
		must(t, err)
	}
	<-js.PublishAsyncComplete()
}

// TestAllThatIsAboutToLeaveIsSavedAtOnce, however much that is: in the minute until the
// next promise a busy event stream drops more than one look buries.
func TestAllThatIsAboutToLeaveIsSavedAtOnce(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects(), MaxMsgs: 10*bringMost + 2000})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		must(t, board.Disable(t.Context(), "s1", AnsweredGone(time.Now(), 1), "410"))
		const owed = bringMost + 100
		publishFirst(t, js, 2*owed, 10*owed+1)
		_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err)
		lease, _ := leased(t, server, "s1")
		s := newShard(t.Context(), New(js, nil, Options{Health: board, Dead: deadletters.New(js, names)}), lease)
		s.read = true
		began := time.Now()
		for s.tend(t.Context(), s.lane("s1")); s.jobs > 0; s.jobs-- {
			(<-s.ended)()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		letters, err := js.Stream(t.Context(), names.DeadLetters())
		must(t, err)
		if n := letters.CachedInfo().State.Msgs; n != owed {
			t.Errorf("%d dead letters, want %d", n, owed)
		}
	})
}

// TestWhatLeavesTheEventStreamGoesIntoALaneThatHasRoom: one that drains is filled up only
// when it is nearly empty, and its endpoint may be slow. Only what has no place there
// becomes a dead letter.
func TestWhatLeavesTheEventStreamGoesIntoALaneThatHasRoom(t *testing.T) {
	bus(t, func(t *testing.T, server *bustest.Server, js jetstream.JetStream) {
		const there, room, owed = bringBelow + 100, 300, 500
		names := events.Names{}
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.Stream(), Subjects: names.Subjects(), MaxMsgs: 10 * owed})
		must(t, err)
		board, err := health.Open(t.Context(), js, names, health.Options{})
		must(t, err)
		defer board.Close()
		publishFirst(t, js, 2*owed, 10*owed)
		_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.Consumer(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy})
		must(t, err)
		_, err = board.Owe(t.Context(), "s1", health.Promise{From: 1, Until: time.Now().Add(time.Hour).UTC()}, health.Stream{At: time.Now(), First: 1, Last: 10 * owed})
		must(t, err)
		lease, _ := leased(t, server, "s1")
		s := newShard(t.Context(), New(js, nil, Options{Health: board, Dead: deadletters.New(js, names), MaxEvents: there + room}), lease)
		s.read = true
		l := s.lane("s1")
		for i := range uint64(there) {
			l.add(entry{src: 1_000_000 + i, seq: 1_000_000 + i})
		}
		l.hold(time.Now().Add(time.Hour))
		for s.tend(t.Context(), l); s.jobs > 0; s.jobs-- {
			(<-s.ended)()
		}
		if n := copies(t, js); n != room {
			t.Errorf("%d are in the lane, want the %d for which there is room", n, room)
		}
		letters, err := js.Stream(t.Context(), names.DeadLetters())
		must(t, err)
		if n := letters.CachedInfo().State.Msgs; n != owed-room-1 {
			t.Errorf("%d dead letters, want the others of the first tenth, %d", n, owed-room-1)
		}
		r, _ := board.Of("s1")
		if r.OwedFrom != owed {
			t.Errorf("it is owed from %d on, want %d", r.OwedFrom, owed)
		}
	})
}
