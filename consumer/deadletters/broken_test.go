package deadletters_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/internal/bustest"
)

// fault is a way in which the dead letter stream cannot be written, and how that
// ends.
type fault struct {
	stored bool // the write is kept, only its answer is lost
	begin  func(w *world)
	end    func(w *world)
}

func nothing(*world) {}

// faults by what they are. The server, its limits, its permissions and the
// connection are real.
var faults = map[string]fault{
	"the stream is missing": {
		begin: func(w *world) { must(w.t, w.js.DeleteStream(w.ctx(), w.names.DeadLetters())) },
		end:   func(w *world) { must(w.t, w.provision()) },
	},
	"the stream is full": {
		begin: func(w *world) {
			w.limitLetters(func(cfg *jetstream.StreamConfig) { cfg.MaxMsgs = 0; cfg.MaxBytes = 1 })
		},
		end: func(w *world) { must(w.t, w.provision()) },
	},
	"writing is not permitted": {
		begin: func(w *world) { w.become("reader") },
		end:   func(w *world) { w.become("service") },
	},
	"the write is lost": {
		begin: func(w *world) { w.wire.Cut(bustest.TheWrite, "webhooks.dead.") },
		end:   nothing,
	},
	"the answer is lost": {
		stored: true,
		begin:  func(w *world) { w.wire.Cut(bustest.TheAnswer, "webhooks.dead.") },
		end:    nothing,
	},
	"the connection is closed": {
		begin: func(w *world) { w.nc.Close() },
		end:   func(w *world) { w.become("service") },
	},
}

// become connects as somebody else.
func (w *world) become(user string) {
	w.t.Helper()
	w.nc.Close()
	w.nc = w.connect(user)
	var err error
	w.js, err = jetstream.New(w.nc)
	must(w.t, err)
	w.store = deadletters.New(w.js, w.names)
}

func TestBuryBroken(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) { story(t, func(t *testing.T, w *world) { w.buryBroken(f) }) })
	}
}

// buryBroken breaks burying twice and then lets it be: an error never means
// that the letter may be forgotten, and what was buried twice is there twice at
// worst.
func (w *world) buryBroken(f fault) {
	w.t.Helper()
	l := w.publish("s", "r-1", "body of r-1")
	for range 2 {
		f.begin(w)
		begun := time.Now()
		if err := w.store.Bury(w.ctx(), l); err == nil || strings.Contains(err.Error(), "body of") {
			w.t.Errorf("burying was confirmed by nobody, and says %v", err)
		}
		if took := time.Since(begun); took > 6*time.Second {
			w.t.Errorf("it took %s to say so", took)
		}
		f.end(w)
		time.Sleep(time.Second) // reconnected
	}
	if w.wire.Armed() {
		w.t.Fatal("the wire was not cut where it should have been")
	}
	before := len(w.list(deadletters.Filter{}))
	if want := map[bool]int{true: 2, false: 0}[f.stored]; before != want {
		w.t.Errorf("%d letters after two faults, want %d", before, want)
	}
	must(w.t, w.store.Bury(w.ctx(), l))
	letters := w.list(deadletters.Filter{Bodies: true})
	if len(letters) != before+1 {
		w.t.Errorf("%d letters, want %d", len(letters), before+1)
	}
	for _, got := range letters {
		if string(got.Body) != string(l.Body) || got.Source != l.Source {
			w.t.Errorf("letter %+v with body %q", got, got.Body)
		}
	}
}

// TestRedriveBroken cuts the connection at each step of a redrive, twice, and
// once with each half lost. Every event is in its lane or a letter at any time,
// and in its lane no more often than it was cut.
func TestRedriveBroken(t *testing.T) {
	steps := map[string]string{
		"open":       "STREAM.INFO",
		"scan":       "CONSUMER.CREATE",
		"page":       "CONSUMER.MSG.NEXT",
		"read":       "DIRECT.GET",
		"hand back":  "webhooks.lanes.",
		"remove":     "STREAM.MSG.DELETE",
		"clean away": "CONSUMER.DELETE",
	}
	for name, pattern := range steps {
		for which, lose := range map[string]bustest.Part{"write lost": bustest.TheWrite, "answer lost": bustest.TheAnswer} {
			t.Run(name+", "+which, func(t *testing.T) {
				story(t, func(t *testing.T, w *world) {
					w.buryMany(3)
					for range 2 {
						w.wire.Cut(lose, pattern)
						_, _ = w.store.Redrive(t.Context(), deadletters.Filter{}, w.park, nil)
						time.Sleep(time.Second) // reconnected
						w.wantNothingLost(3)
						if len(w.list(deadletters.Filter{})) > 0 && w.wire.Armed() {
							t.Fatal("the wire was not cut where it should have been")
						}
						w.wire.Cut(0, "never sent")
					}
					_, err := w.store.Redrive(t.Context(), deadletters.Filter{}, w.park, nil)
					must(t, err)
					w.wantIDs(deadletters.Filter{}, "")
					for id, times := range w.wantNothingLost(3) {
						if times > 3 {
							t.Errorf("event %s is in its lane %d times", id, times)
						}
					}
				})
			})
		}
	}
}

// wantNothingLost checks that each of n events is in its lane or a letter.
func (w *world) wantNothingLost(n int) map[string]int {
	w.t.Helper()
	parked, buried := w.parked(), map[string]bool{}
	for _, l := range w.list(deadletters.Filter{Bodies: true}) {
		buried[l.EventID] = string(l.Body) == "body of "+l.EventID
	}
	for i := 1; i <= n; i++ {
		if parked[id(i)] == 0 && !buried[id(i)] {
			w.t.Errorf("event %s is lost: neither in its lane nor a letter", id(i))
		}
	}
	return parked
}
