package walk_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/walk"
)

// TestAWalkReadsOnACluster has the reader placed on whichever server: often not on
// the one that is asked.
func TestAWalkReadsOnACluster(t *testing.T) {
	js := bustest.StartCluster(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Replicas: 3})
	must(t, err)
	for i := range 10 {
		_, err := js.Publish(t.Context(), fmt.Sprint("s.", i), nil)
		must(t, err)
	}
	for range 50 {
		if n := len(all(t, js, walk.Options{})); n != 10 {
			t.Fatalf("%d messages, want 10", n)
		}
	}
}
