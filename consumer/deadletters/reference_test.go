package deadletters_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/events"
)

// reserve is by how much an event is smaller than the largest message.
const reserve = 16 << 10

func TestTheLargestEventIsCopiedWithAllThereIsToSay(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	at := time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)
	odd := strings.Repeat("\x01", 10_000) // every byte is written as four
	body := strings.Repeat("x", maxPayload-reserve)
	must(t, w.store.Bury(t.Context(), deadletters.Letter{
		Survey: events.Survey(strings.Repeat("s", 128)), EventID: strings.Repeat("e", 128), Reason: strings.Repeat("r", 64), Detail: strings.Repeat("d", 1024),
		Stack: strings.Repeat("goroutine 7 [running]:\n\t", 200), Source: 1 << 62, Published: at, First: at, Last: at, Attempts: 1 << 40,
		Traceparent: strings.Repeat("t", 512), Tracestate: strings.Repeat("t", 512), Body: []byte(body),
	}))
	must(t, w.store.Bury(t.Context(), deadletters.Letter{Reason: "panic", Detail: odd[:512], Stack: odd[:2048], Source: 2, Body: []byte(body)}))
	for _, l := range w.list(deadletters.Filter{Bodies: true}) {
		if l.ByReference || string(l.Body) != body {
			t.Errorf("letter %d: by reference %v, %d bytes", l.Sequence, l.ByReference, len(l.Body))
		}
	}
}

func TestWhatIsTooLargeToCopyIsBuriedByReference(t *testing.T) {
	for name, limit := range map[string]int32{"the server's limit": -1, "the stream's limit": 20 << 10} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			defer w.close()
			w.limitLetters(func(cfg *jetstream.StreamConfig) { cfg.MaxMsgSize = limit })
			l := w.publish("s", "r-1", rand.Text()+strings.Repeat("x", maxPayload-200))
			l.Stack = strings.Repeat("deep\n", 100)
			must(t, w.store.Bury(t.Context(), l))

			got, err := w.store.Get(t.Context(), 1)
			must(t, err)
			if !got.ByReference || len(got.SHA256) != 64 || got.Body != nil || got.Bytes != len(l.Body) || got.Stack != l.Stack {
				t.Fatalf("letter %+v", got)
			}
			body, err := w.store.Body(t.Context(), got)
			must(t, err)
			if string(body) != string(l.Body) {
				t.Error("the reference leads to other bytes")
			}

			var redriven []byte
			tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, takeBody(&redriven), nil)
			if err != nil || tally.Letters != 1 || string(redriven) != string(l.Body) {
				t.Errorf("redriven %+v, %v, %d bytes", tally, err, len(redriven))
			}
			w.wantIDs(deadletters.Filter{}, "")
		})
	}
}

func TestAReferenceThatLeadsNowhereIsKept(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	l := w.publish("s", "r-1", strings.Repeat("x", maxPayload-200))
	must(t, w.store.Bury(t.Context(), l))
	s, err := w.js.Stream(t.Context(), w.names.Stream())
	must(t, err)

	check := func(when string) {
		t.Helper()
		var said error
		tally, err := w.store.Redrive(t.Context(), deadletters.Filter{}, w.park, func(_ deadletters.Letter, err error) { said = err })
		if err != nil || tally.Failed != 1 || !errors.Is(said, deadletters.ErrNoBody) {
			t.Errorf("%s: %+v, %v, told %v", when, tally, err, said)
		}
		w.wantIDs(deadletters.Filter{}, "r-1")
	}
	must(t, s.DeleteMsg(t.Context(), l.Source))
	check("gone")

	must(t, w.js.DeleteStream(t.Context(), w.names.Stream()))
	must(t, w.provision())
	w.publish("s", "r-2", "another event at the same sequence")
	check("another stands there")
}

func TestBodyOfACopy(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	must(t, w.store.Bury(t.Context(), letter("s", "r-1", 1)))
	body, err := w.store.Body(t.Context(), w.list(deadletters.Filter{})[0])
	if err != nil || string(body) != "body of r-1" {
		t.Errorf("body %q, %v", body, err)
	}
}

// limitLetters changes the dead letter stream.
func (w *world) limitLetters(change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	s, err := w.js.Stream(w.ctx(), w.names.DeadLetters())
	must(w.t, err)
	cfg := s.CachedInfo().Config
	change(&cfg)
	_, err = w.js.UpdateStream(w.ctx(), cfg)
	must(w.t, err)
}
