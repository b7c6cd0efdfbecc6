package leases

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

func TestALookShowsWhoLivesAndWhoHoldsWhat(t *testing.T) {
	js := bustest.Start(t)
	names := events.Names{}.WithShards(3)
	for _, b := range (layout.Layout{}).Buckets() {
		if _, err := js.CreateKeyValue(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for bucket, values := range map[string]map[string][]byte{
		names.Replicas(): {
			"a":     encode(Replica{ID: "a", Version: "1.2.3", Started: started}),
			"newer": []byte(`["what a later version may write"]`),
		},
		names.Leases(): {"00": encode(Holding{Replica: "a"}), "02": encode(Holding{Replica: "a"})},
	} {
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range values {
			if _, err := kv.Put(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, err := Look(t.Context(), js, names)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Replicas) != 2 || p.Held("a") != 2 || p.Held("newer") != 0 {
		t.Errorf("the picture is %+v", p)
	}
	for _, r := range p.Replicas {
		if r.ID == "a" && (r.Version != "1.2.3" || !r.Started.Equal(started)) {
			t.Errorf("a replica announced itself as %+v", r)
		}
	}
	if free := p.Free(names); len(free) != 1 || free[0] != 1 {
		t.Errorf("nobody holds %v, want shard 1", free)
	}
}
