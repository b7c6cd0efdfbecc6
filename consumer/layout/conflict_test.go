package layout_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
)

func TestALostCompareAndSetIsAConflictOnOneServer(t *testing.T) {
	wantConflicts(t, bustest.Start(t), 1)
}

func TestALostCompareAndSetIsAConflictOnACluster(t *testing.T) {
	wantConflicts(t, bustest.StartCluster(t), 3)
}

func wantConflicts(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	var kv jetstream.KeyValue
	var err error
	for range 50 { // a young cluster has no place for a stream yet
		if kv, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: replicas}); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Create(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, create := kv.Create(t.Context(), "k", nil)
	_, update := kv.Update(t.Context(), "k", nil, revision+7)
	remove := kv.Delete(t.Context(), "k", jetstream.LastRevision(revision+7))
	for name, err := range map[string]error{"create": create, "update": update, "delete": remove} {
		if !layout.Conflict(err) {
			t.Errorf("%s: %v is not taken for a conflict", name, err)
		}
	}
	if layout.Conflict(nil) || layout.Conflict(errors.New("no answer")) {
		t.Error("what is none is taken for a conflict")
	}
}
