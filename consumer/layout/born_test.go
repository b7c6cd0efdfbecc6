package layout_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
)

func TestAStreamIsAsOldAsItsSequences(t *testing.T) {
	created := time.Date(2026, 2, 1, 12, 0, 0, 123456789, time.UTC)
	born := created.Add(-1000 * time.Hour)
	restored := layout.WithBorn(map[string]string{"owner": "platform", "_nats.ver": "2.15"}, born, created)
	if restored["owner"] != "platform" || len(restored) != 2 {
		t.Errorf("metadata %v, want the owner's and ours", restored)
	}
	for name, tc := range map[string]struct {
		metadata map[string]string
		want     time.Time
	}{
		"a stream like any other is as old as it says":     {nil, created},
		"a restored one is as old as what was backed up":   {restored, born},
		"one that was restored twice is older still":       {layout.WithBorn(restored, born.Add(-time.Hour), created), born.Add(-time.Hour)},
		"one made by hand with that metadata is a new one": {layout.WithBorn(nil, born, created.Add(-time.Second)), created},
		"one that a node says was asked for a minute ago":  {layout.WithBorn(nil, born, created.Add(time.Minute)), born},
		"one that is older than a restore takes":           {layout.WithBorn(nil, born, created.Add(48*time.Hour)), created},
		"one with nonsense there is a new one":             {map[string]string{"popsee-restored": "x " + created.Format(time.RFC3339Nano)}, created},
	} {
		info := &jetstream.StreamInfo{Created: created, Config: jetstream.StreamConfig{Metadata: tc.metadata}}
		if got := layout.Born(info); !got.Equal(tc.want) {
			t.Errorf("%s: born %s, want %s", name, got, tc.want)
		}
	}
}
