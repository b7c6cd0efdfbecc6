package main

import (
	"encoding/pem"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/hostiletest"
	"github.com/popsee/webhooks/events"
)

// What holds for healthy endpoints beside hostile ones, from publication to receipt, and for the process.
//
// Whoever waited for a hostile attempt would wait up to 5 s, and with a replica's hands full of them so would everybody.
// What healthy events may lose is the processor that hostile ones cost us.
//
// What the hostile answers would have the process hold is without end: the ones that are in hand at a time may have it
// hold so much more than it did.
const (
	besideMedian = slowed * 10 * time.Millisecond // more than without
	besideP99    = slowed * 50 * time.Millisecond
	besideMost   = 2 * time.Second // one event, whatever else the machine does: an attempt may last for 5
	besideMemory = 64 << 20

	besidePace   = slowed * 3 * time.Millisecond // from one healthy event to the next
	quietEvents  = 15                            // in a window
	besideEvents = 30
	besideAll    = 1900 / slowed

	// One machine is never quiet. What does not hold in one window must hold in the next ones, for a bound that is really
	// broken is so in every one.
	besideRounds = 8

	// One endpoint may have 8 attempts under way, and 256 more that wait a second for their turn. All the hands there are
	// would be full of a hostile endpoint's events, were it not for that: there are more of them. Healthy events behind
	// them come through as soon as the hostile ones have been looked at, long before an attempt ends.
	fewHands, hostileBurst = 400, 500

	// When all are there at once, each that resets or refuses is tried again for a moment.
	manyHands = 1000
)

// TestHealthyEndpointsBesideTheWorstOnes runs the whole service, and beside its healthy endpoints every hostile one there
// is: first each of them alone, those that hold their sender with events enough to take all the hands, and then all of
// them at once for longer than an attempt lasts. Healthy events keep their latency, and the process its memory. Windows
// without and with hostile events take turns. NATS does not sync here: disks are another matter.
func TestHealthyEndpointsBesideTheWorstOnes(t *testing.T) {
	w := besiegedWorld(t)
	for i := range w.order() {
		v, survey := w.receivers[i], events.Survey(fmt.Sprint("hostile", i))
		connect(t, w.v, survey, w.apart.URLs[i], plantedSecret)
		t.Run(v.Name, func(t *testing.T) {
			w.mustHold(t, besideRounds, func() window {
				if v.Holds {
					w.calm(t)
				}
				w.enable(t, survey, true)
				defer w.enable(t, survey, false)
				if v.Holds {
					w.burst(t, survey)
				}
				return w.window(t, besideEvents, survey)
			})
		})
	}
	w.end()
	w.start(t, manyHands)
	var all []events.Survey
	for i, url := range w.apart.URLs {
		all = append(all, events.Survey(fmt.Sprint("all", i)))
		connect(t, w.v, all[i], url, plantedSecret)
	}
	t.Run("all of them at once", func(t *testing.T) {
		w.mustHold(t, 2, func() window { return w.window(t, besideAll, all...) })
	})
}

// besieged is a service with its healthy endpoints, and the hostile ones in another process.
type besieged struct {
	settings  config.Settings
	v         *service
	end       func() // of v
	apart     *hostiletest.Apart
	receivers []hostiletest.Receiver
	seq       int

	mu       sync.Mutex           // guards received
	received map[string]time.Time // by event, for the first time
}

func besiegedWorld(t *testing.T) *besieged {
	t.Helper()
	const host = "127.0.0.1"
	w := &besieged{apart: hostiletest.StartApart(t, host), receivers: hostiletest.Every(t, hostiletest.NewAuthority(t), host), received: map[string]time.Time{}}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, now := r.Header.Get(delivery.HeaderDelivery), time.Now()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.received[id].IsZero() {
			w.received[id] = now
		}
	}))
	t.Cleanup(receiver.Close)
	bus := externalNATS(t, &server.Options{})
	w.settings = testSettings(t.TempDir())
	w.settings.NATS.URL, w.settings.Keys.Ring = bus.ClientURL(), newRing(t)
	w.settings.Delivery.CABundle = filepath.Join(t.TempDir(), "authority.pem")
	must(t, os.WriteFile(w.settings.Delivery.CABundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.apart.Authority.Raw}), 0o600))
	w.start(t, fewHands)
	connect(t, w.v, "measured", receiver.URL, plantedSecret)
	connect(t, w.v, "healthy", receiver.URL, plantedSecret)
	w.window(t, quietEvents, "healthy") // connections, and whatever else is new
	return w
}

// start runs the service until end is called, with so many attempts at once at most.
func (w *besieged) start(t *testing.T, hands int) {
	t.Helper()
	w.settings.Delivery.MaxInFlight = hands
	v, err := openService(t.Context(), w.settings, noEnv, zerolog.Nop())
	must(t, err)
	w.v, w.end = v, running(t, v)
	t.Cleanup(w.end)
	if w.seq > 0 {
		w.window(t, quietEvents, "healthy") // connections, and whatever else is new
	}
}

// order gives the receivers' places, one that holds its senders and then some of those that do not: meanwhile the events
// that waited for the first one's budget are gone, a second later.
func (w *besieged) order() iter.Seq[int] {
	var holding, others []int
	for i, v := range w.receivers {
		if v.Holds {
			holding = append(holding, i)
		} else {
			others = append(others, i)
		}
	}
	return func(yield func(int) bool) {
		each := len(others)/len(holding) + 1
		for i, first := range holding {
			for _, next := range append([]int{first}, others[min(i*each, len(others)):min((i+1)*each, len(others))]...) {
				if !yield(next) {
					return
				}
			}
		}
	}
}

// mustHold has a window besieged, again and again until healthy events are as fast in it as in the quiet one before, and
// the process as small.
func (w *besieged) mustHold(t *testing.T, rounds int, besiege func() window) {
	t.Helper()
	for round := 1; ; round++ {
		w.apart.Disperse(t)
		quiet, held := w.window(t, quietEvents, "healthy"), heldMemory()
		beside := besiege()
		grown := max(heldMemory(), held) - held
		if err := w.v.live(); err != nil {
			t.Errorf("not live: %v", err)
		}
		said := fmt.Sprintf("quiet %s, beside %s; memory +%d MiB; round %d", quiet, beside, grown>>20, round)
		if beside.within(quiet) && grown <= besideMemory {
			t.Log(said)
			return
		}
		if round == rounds {
			t.Fatal(said)
		}
	}
}

// calm waits until nothing is in hand any more, and ends what hostile receivers hold.
func (w *besieged) calm(t *testing.T) {
	t.Helper()
	within(t, func() string {
		w.apart.Disperse(t)
		c, err := w.v.js.Consumer(t.Context(), "RESPONSES", "webhooks")
		if err != nil {
			return err.Error()
		}
		if n := owed(c.CachedInfo()); n > 0 {
			return fmt.Sprintf("%d events are still in hand", n)
		}
		return ""
	})
}

// burst has more events of a hostile endpoint than there are hands, and a healthy one behind them.
func (w *besieged) burst(t *testing.T, hostile events.Survey) {
	t.Helper()
	for range hostileBurst {
		w.publish(t, hostile)
	}
	began := time.Now()
	id := w.publish(t, "measured")
	within(t, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.received[id].IsZero() {
			return "a healthy event behind hostile ones is not delivered"
		}
		return ""
	})
	if took := time.Since(began); took > besideMost {
		t.Errorf("a healthy event behind %d hostile ones took %s", hostileBurst, took)
	}
}

// enable gives an endpoint to the service, or takes it away: then its events wait, and nothing is sent.
func (w *besieged) enable(t *testing.T, survey events.Survey, enabled bool) {
	t.Helper()
	within(t, func() string {
		ep, err := w.v.store.Get(t.Context(), survey)
		switch {
		case err != nil:
			return err.Error()
		case ep.Enabled == enabled:
			return "" // the service has seen it
		}
		ep.Enabled = enabled
		if _, err := w.v.store.Put(t.Context(), ep); err != nil {
			return err.Error()
		}
		return "the service does not see the change of " + string(survey)
	})
}

// window publishes healthy events at a pace, and with each of them one for a companion, the companions in turn. It gives
// how long the healthy ones were under way: from when each should have been published, so that no wait goes unseen.
func (w *besieged) window(t *testing.T, n int, companions ...events.Survey) window {
	t.Helper()
	due, ids := make([]time.Time, n), make([]string, n)
	pace := time.NewTicker(besidePace)
	defer pace.Stop()
	at := time.Now()
	for i := range n {
		at = at.Add(besidePace)
		for time.Now().Before(at) {
			<-pace.C
		}
		due[i], ids[i] = at, w.publish(t, "measured")
		w.publish(t, companions[i%len(companions)])
	}
	took := make(window, 0, n)
	within(t, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		for ; len(took) < n; took = append(took, w.received[ids[len(took)]].Sub(due[len(took)])) {
			if w.received[ids[len(took)]].IsZero() {
				return fmt.Sprintf("%d healthy events are not delivered", n-len(took))
			}
		}
		return ""
	})
	return took
}

// publish hands a new event to NATS, and gives its id. It does not wait: what NATS does with it is part of what is measured.
func (w *besieged) publish(t *testing.T, survey events.Survey) string {
	t.Helper()
	w.seq++
	id := fmt.Sprint("r", w.seq)
	must(t, w.v.nc.Publish("responses.completed."+string(survey), event(survey, id)))
	return id
}

// window is how long each event of one was under way, in the order of publication.
type window []time.Duration

// slice is how many events of a window are looked at together: of a long one most slices must hold, for a machine that
// does something else for a moment is no endpoint's fault.
const slice = 30

func (w window) p50() time.Duration { return median(w) }

// p99 is that of the slice in the middle.
func (w window) p99() time.Duration {
	var each []time.Duration
	for part := range slices.Chunk(w, slice) {
		part = slices.Sorted(slices.Values(part))
		each = append(each, part[(len(part)-1)*99/100])
	}
	return median(each)
}

func median(d []time.Duration) time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }

func (w window) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, at most %s", w.p50(), w.p99(), slices.Max(w))
}

func (w window) within(quiet window) bool {
	return w.p50() <= quiet.p50()+besideMedian && w.p99() <= quiet.p99()+besideP99 && slices.Max(w) <= besideMost
}

// heldMemory is what the process has of the system.
func heldMemory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
