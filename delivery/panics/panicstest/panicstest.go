// Package panicstest tells tests how many panics were survived, and where.
package panicstest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/delivery/panics"
)

// Survived is how many panics a guard, made with this registry, has counted at a place.
func Survived(t testing.TB, reg prometheus.Gatherer, place panics.Place) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "webhooks_panics_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == string(place) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
