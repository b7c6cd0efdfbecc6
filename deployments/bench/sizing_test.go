package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/config"
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
		rate    float64
		latency time.Duration
		want    fleet
	}{
		"a little needs one replica, and one that may be missing": {100, 50 * time.Millisecond, fleet{1, 100, 5, 2}},
		"attempts under way ask for replicas":                     {1400, time.Second, fleet{1, 1400, 1400, 2}},
		"one more asks for one more":                              {1401, time.Second, fleet{1, 1401, 1401, 3}},
		"the stream asks for deployments":                         {10_001, time.Millisecond, fleet{2, 5000.5, 5.0005, 2}},
		"all attempts under way do as well":                       {7001, 2 * time.Second, fleet{2, 3500.5, 7001, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			got := fleetFor(c.rate, c.latency)
			if fmt.Sprintf("%d %.0f %.0f %d", got.deployments, got.each, got.inFlight, got.replicas) != fmt.Sprintf("%d %.0f %.0f %d", c.want.deployments, c.want.each, c.want.inFlight, c.want.replicas) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
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

func TestTheBoundsOfTheFormulaAreTheProducts(t *testing.T) {
	field, _ := reflect.TypeFor[config.DeliverySettings]().FieldByName("MaxInFlight")
	if slots, err := strconv.Atoi(field.Tag.Get("default")); err != nil || slots != replicaSlots {
		t.Errorf("a replica has %d attempts under way (%v), the formula says %d", slots, err, replicaSlots)
	}
	if got := (layout.Layout{}).Consumer(1, nil).MaxAckPending; got != fleetSlots {
		t.Errorf("a deployment has %d attempts under way, the formula says %d", got, fleetSlots)
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
