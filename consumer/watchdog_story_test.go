package consumer_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAConsumerThatStallsIsBoundAnewAndSaid has the server give nothing away for a
// while although there is something: the consumer is paused, which the replica is not
// told of. One replica has had events before, and one has never had any.
func TestAConsumerThatStallsIsBoundAnewAndSaid(t *testing.T) {
	for name, before := range map[string]int{"after events": 3, "from the start": 0} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				metrics := prometheus.NewRegistry()
				w.metrics = metrics
				w.endpoint("s1")
				w.start()
				ids := w.publishMany("s1", before)
				w.advance(time.Minute)
				if n := rebinds(t, metrics); n != 0 {
					t.Errorf("bound anew %d times while nothing waits", n)
				}
				names := w.layout.Names
				_, err := w.js.PauseConsumer(t.Context(), names.Stream(), names.Consumer(), time.Now().Add(time.Minute))
				must(t, err)
				ids = append(ids, w.publishMany("s1", 5)...)
				w.advance(10 * time.Second)
				if n := rebinds(t, metrics); n != 0 {
					t.Errorf("bound anew %d times after ten seconds", n)
				}
				w.advance(40 * time.Second)
				if n := rebinds(t, metrics); n < 1 || n > 3 {
					t.Errorf("bound anew %d times in 50 s of silence, want one each 15 s", n)
				}
				w.wantLog("nothing arrives in spite of lag; binding the consumer anew")
				w.advance(time.Minute)
				w.wantAllDelivered(ids)
				w.wantSettled()
			})
		})
	}
}

// rebinds is how often the watchdog has bound the consumer anew.
func rebinds(t *testing.T, from *prometheus.Registry) int {
	t.Helper()
	const name = "webhooks_consumer_rebinds_total"
	families, err := from.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
