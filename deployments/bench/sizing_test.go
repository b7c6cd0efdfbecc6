package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

func TestTheTablesOfScalingAreWhatTheFormulaComputes(t *testing.T) {
	page, err := os.ReadFile("../scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	for about, table := range tables() {
		if !strings.Contains(string(page), "\n\n"+table+"\n") {
			t.Errorf("deployments/scaling.md has another table about %s than is computed; this is it:\n%s", about, table)
		}
	}
}

func TestTheFormulaKeepsToItsBounds(t *testing.T) {
	for name, c := range map[string]struct {
		d    demand
		want string // deployments; of each: events a second, attempts under way, replicas
	}{
		"a little needs one replica, and one that may be missing": {demand{rate: 100, latency: 50 * time.Millisecond}, "1: 100 5 2"},
		"attempts under way ask for replicas":                     {demand{rate: 1400, latency: time.Second}, "1: 1400 1400 2"},
		"one more asks for one more":                              {demand{rate: 1401, latency: time.Second}, "1: 1401 1401 3"},
		"what is parked has none under way":                       {demand{rate: 2800, failing: 0.5, latency: time.Second}, "1: 2800 1400 2"},
		"what hangs is probed":                                    {demand{rate: 1400, surveys: 108_000, failing: 0.5, latency: time.Second}, "1: 1400 1700 13"},
		"probes have a pace":                                      {demand{rate: 100, surveys: 1_000_000, failing: 0.5, latency: time.Second}, "1: 100 1650 19"},
		"the stream asks for deployments":                         {demand{rate: 10_001, latency: time.Millisecond}, "2: 5000 5 2"},
		"all attempts under way do as well":                       {demand{rate: 7001, latency: 2 * time.Second}, "2: 3500 7001 7"},
		"and so does what is parked":                              {demand{rate: 8000, failing: 0.9, latency: time.Second}, "2: 4000 400 2"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleetFor(c.d)
			if got := fmt.Sprintf("%d: %.0f %.0f %d", f.deployments, math.Floor(f.each.rate), math.Floor(f.each.live()+f.each.probes()+1e-9), f.replicas); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		f    fleet
		want float64
	}{
		"attempts under way are the bound": {fleet{each: demand{rate: 1, latency: 2 * time.Second}, replicas: 3}, 2000},
		"those of all replicas are":        {fleet{each: demand{rate: 1, latency: 2 * time.Second}, replicas: 30}, 10_000},
		"parking is":                       {fleet{each: demand{rate: 1, failing: 0.5, latency: 50 * time.Millisecond}, replicas: 9}, 2 * parkedMost},
		"nothing that was measured":        {fleet{each: demand{rate: 1, latency: time.Millisecond}, replicas: 9}, deliveredMost},
	} {
		if got := c.f.most(); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: a deployment takes %.1f events/s at most, want %.1f", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		f      fleet
		inLane float64
		want   time.Duration
	}{
		"each lane by its endpoint":     {fleet{each: demand{100, 20, 0.5, time.Second}, replicas: 9}, 6400, 100 * time.Second},
		"as many as a replica may have": {fleet{each: demand{100, 2000, 0.5, time.Second}, replicas: 3}, 512, 1000 * time.Second},
		"all lanes together":            {fleet{each: demand{100, 2000, 0.5, 50 * time.Millisecond}, replicas: 3}, 95, 10 * time.Second},
	} {
		if got := c.f.drained(waits{events: c.inLane}); got.Round(time.Millisecond) != c.want {
			t.Errorf("%s: lanes are drained within %s, want %s", name, got, c.want)
		}
	}
	if got, want := (fleet{each: demand{1000, 100, 0.5, time.Second}}).waits(2*time.Hour), (waits{50_000, 50 * 50_000 * (1000 + parkedOverhead), 50 * 22_000}); got != want {
		t.Errorf("fifty dead endpoints: got %+v, want %+v", got, want)
	}
	if got := (fleet{each: demand{rate: 1000, latency: time.Second}, replicas: 2}).lag(time.Hour); got.Round(time.Second) != time.Hour {
		t.Errorf("an hour away at half of what can be delivered is caught up with after %s, want an hour", got)
	}
	if got := catchUp(time.Minute, 0.75); got != 3*time.Minute {
		t.Errorf("a minute away at a load of three quarters is caught up with after %s, want 3 min", got)
	}
	if got, want := waitsFor(2, 10, 2*time.Hour, 1000), (waits{50_000, 2 * 50_000 * (1000 + parkedOverhead), 2 * 22_000}); got != want {
		t.Errorf("small events: got %+v, want %+v", got, want)
	}
	if got := waitsFor(1, 10, 2*time.Hour, 1<<20); got.events != 64 || got.owed != 72_000-64 {
		t.Errorf("large events: got %+v, want 64 of them in the lane", got)
	}
}

// TestTheFormulaSaysWhatWasMeasured holds what is computed for the conditions of the
// benchmarks to what they have measured.
func TestTheFormulaSaysWhatWasMeasured(t *testing.T) {
	for _, h := range allHeld() {
		if ratio := h.measured / h.computed; ratio < h.least-1e-9 || ratio > h.most+1e-9 {
			t.Errorf("%s: the formula says %.1f, measured were %.1f, %.2f of that; allowed is %.2f to %.2f", h.what, h.computed, h.measured, ratio, h.least, h.most)
		}
	}
}

func TestTheBoundsOfTheFormulaAreTheProducts(t *testing.T) {
	field, _ := reflect.TypeFor[config.DeliverySettings]().FieldByName("MaxInFlight")
	if slots, err := strconv.Atoi(field.Tag.Get("default")); err != nil || slots != replicaSlots {
		t.Errorf("a replica has %d attempts under way (%v), the formula says %d", slots, err, replicaSlots)
	}
	if got := (layout.Layout{}).Consumer(1, nil).MaxAckPending; got != fleetSlots {
		t.Errorf("a deployment has %d attempts under way, the formula says %d", got, fleetSlots)
	}
	if admit.MaxBudget != endpointSlots {
		t.Errorf("an endpoint has %d attempts under way, the formula says %d", admit.MaxBudget, endpointSlots)
	}
	if n, bytes := lanes.Quota(0, 0); n != laneEvents || bytes != laneBody {
		t.Errorf("a lane holds %d events or %d bytes, the formula says %d and %d", n, bytes, laneEvents, laneBody)
	}
}

// TestWhatAnEventTakesIsWhatTheFormulaSays stores events with ids as they are, and
// looks at what NATS says that they take.
func TestWhatAnEventTakesIsWhatTheFormulaSays(t *testing.T) {
	g, err := openRig(t.Context(), setup{bin: built(t), sync: "2m"}, scenario{Name: "sizes", Surveys: 1, Backlog: true, Events: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := g.prepareService(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 4000
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it is to be the same each time
	surveys, ids, names := make([]events.Survey, 100), make([]string, n), events.Names{}
	for i := range surveys {
		surveys[i] = manyID(random)
	}
	for i := range ids {
		ids[i] = string(manyID(random))
	}
	log := deliverylog.New(g.js, names, deliverylog.Options{Replica: "webhooks-7c9e66797c-x2x4z"})
	pub, parker := events.NewPublisher(g.js, events.PublisherOptions{}), lanes.NewParker(g.js, names, nil)
	parking, stop := context.WithCancel(t.Context())
	defer stop()
	go parker.Run(parking)
	body := func(s events.Survey, id string) []byte {
		b := fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"%s"},"response":{"id":"%s"},"filler":"`, s, id)
		return append(b, strings.Repeat("x", bodySize-len(b)-2)+`"}`...)
	}
	if err := inParallel(200, n, func(i int) error {
		s, id, now := surveys[i%len(surveys)], ids[i], time.Now()
		if _, err := pub.Publish(t.Context(), body(s, id)); err != nil {
			return err
		}
		took := time.Duration(i*7919%50_000_000 + 1_000_000)
		log.Attempt(uint64(i)+1, delivery.Attempt{ //nolint:gosec // never negative
			Survey: s, EventID: id, Host: "hooks.example.com:443", Revision: 4, Number: 1, Started: now, Took: took,
			Phases: delivery.Phases{FirstByte: took - 12_345, Reused: true}, Status: 200, Verdict: delivery.Delivered, Reason: delivery.Reason2xx,
		})
		return parker.Park(t.Context(), lanes.Waiting{
			Survey: s, EventID: id, Source: uint64(i) + 1_000_000_000, Published: now, Parked: now, Attempts: 3, Reason: "timeout", DueNow: true, Body: body(s, id), //nolint:gosec // never negative
		})
	}); err != nil {
		t.Fatal(err)
	}
	if err := log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for stream, c := range map[string]struct{ body, overhead float64 }{
		names.Stream(): {bodySize, eventOverhead}, names.Lanes(): {bodySize, parkedOverhead}, names.Attempts(): {0, attemptBytes},
	} {
		s, err := g.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		got := float64(s.CachedInfo().State.Bytes)/n - c.body
		t.Logf("%s: %.0f bytes an event besides its body", stream, got)
		if got > c.overhead || got < c.overhead/2 {
			t.Errorf("%s: %.0f bytes an event besides its body, the formula says %.0f", stream, got, c.overhead)
		}
	}
}
