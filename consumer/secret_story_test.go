package consumer_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/config"
)

// A secret that cannot be opened is our own fault: somebody is told, the events
// wait, nothing goes out unsigned, and with the right key everything goes at once.
func TestAnUnsealableSecretAlarmsAndWaitsAndIsNeverSentUnsigned(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		registry := prometheus.NewRegistry()
		w.metrics = registry
		mine := w.keys
		key, err := config.GenerateKey()
		must(t, err)
		both, err := mine.Rotate(key)
		must(t, err)
		r := w.start()
		w.keys = both // the platform seals with a key this replica does not have
		w.endpoint("s1")
		w.keys = mine
		w.endpoint("s2")
		waiting := []string{w.publish("s1"), w.publish("s1"), w.publish("s1")}
		healthy := w.publish("s2")
		w.advance(time.Minute)
		w.wantRequests("s1", 0)
		w.wantDelivered(healthy, 1)
		w.wantSettled() // nothing of it stands in the way of others
		w.wantLog(config.ErrUnsealable.Error())
		if n := count(t, registry, "webhooks_unsealable_secrets_total"); n < 3 {
			t.Errorf("the counter an alert looks at stands at %v", n)
		}
		if len(w.letters()) != 0 {
			t.Error("an event was given up on for a fault of ours")
		}
		if _, there := w.health("s1"); there {
			t.Error("the endpoint is blamed for a fault of ours")
		}
		w.wantRisingWhileNothingArrives(registry, "webhooks_unsealable_secrets_total")
		r.store.SetKeys(both)
		w.advance(10 * time.Second)
		for _, id := range waiting {
			w.wantDelivered(id, 1) // and signed: checkReceived looks at every request
		}
		w.wantStill(registry, "webhooks_unsealable_secrets_total")
	})
}

// Settings that are not valid are somebody's to mend for as long as an event waits for
// them, and not only when it arrives.
func TestSettingsThatAreNotValidAreToldOfWhileTheirEventsWait(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		registry := prometheus.NewRegistry()
		w.metrics = registry
		w.start()
		_, err := w.bucket(w.layout.Names.Endpoints()).PutString(t.Context(), "s1", `{"url":"http://receiver.test/s1","enabled":true,"no_such_setting":1}`)
		must(t, err)
		waiting := w.publish("s1")
		w.advance(time.Minute)
		w.wantRequests("s1", 0)
		w.wantSettled()
		w.wantRisingWhileNothingArrives(registry, "webhooks_unusable_endpoint_events_total")
		w.endpoint("s1")
		w.advance(10 * time.Second)
		w.wantDelivered(waiting, 1)
		w.wantStill(registry, "webhooks_unusable_endpoint_events_total")
	})
}

// wantRisingWhileNothingArrives checks that a counter rises often enough for an alert
// on fifteen minutes of it not to end.
func (w *world) wantRisingWhileNothingArrives(g prometheus.Gatherer, name string) {
	w.t.Helper()
	for range 20 {
		before := count(w.t, g, name)
		w.advance(time.Minute)
		if rose := count(w.t, g, name) - before; rose < 6 {
			w.t.Errorf("%s rose by %v in a minute in which events waited", name, rose)
			return
		}
	}
}

// wantStill checks that a counter no longer rises.
func (w *world) wantStill(g prometheus.Gatherer, name string) {
	w.t.Helper()
	before := count(w.t, g, name)
	w.advance(time.Minute)
	if rose := count(w.t, g, name) - before; rose != 0 {
		w.t.Errorf("%s rose by %v in a minute in which nothing waited", name, rose)
	}
}

// count is what a counter without labels stands at.
func count(t testing.TB, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
