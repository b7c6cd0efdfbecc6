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
		r.store.SetKeys(both)
		w.advance(10 * time.Second)
		for _, id := range waiting {
			w.wantDelivered(id, 1) // and signed: checkReceived looks at every request
		}
	})
}

// count is what a counter without labels stands at.
func count(t *testing.T, g prometheus.Gatherer, name string) float64 {
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
