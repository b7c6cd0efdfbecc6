package config

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Where a cluster has no leader any server answers, and a leader that is new answers
// before it has stored all that was confirmed.
func TestOnlyALeaderThatHasLedForAWhileIsBelieved(t *testing.T) {
	if _, err := stateOf(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Name: "c"}}); !errors.Is(err, errLeaderless) {
		t.Errorf("without a leader: %v", err)
	}
	single, err := stateOf(&jetstream.StreamInfo{
		Config: jetstream.StreamConfig{Replicas: 1}, Cluster: &jetstream.ClusterInfo{Leader: "n1"}, State: jetstream.StreamState{LastSeq: 7, NumSubjects: 3},
	})
	if err != nil || single.lastSeq != 7 || single.keys != 3 || single.leader != "" {
		t.Errorf("a single server: %+v, %v", single, err)
	}
	began := time.Now()
	f := &follower{store: &Store{}, bucket: bucketState{leader: "n1"}}
	for _, c := range []struct {
		leader   string
		after    time.Duration
		believed bool
	}{
		{"n1", 0, true},
		{"n2", time.Second, false},
		{"n2", time.Second + newLeader/2, false},
		{"n3", time.Second + newLeader, false},
		{"n3", time.Second + 2*newLeader, true},
		{"n3", time.Minute, true},
	} {
		f.pending = nil
		again := f.consider(look{bucket: bucketState{leader: c.leader}, at: began.Add(c.after)})
		if believed := f.pending != nil; believed != c.believed {
			t.Errorf("%s after %s: believed %v, want %v", c.leader, c.after, believed, c.believed)
		}
		if !c.believed && again != newLeader {
			t.Errorf("%s after %s: asked again after %s", c.leader, c.after, again)
		}
	}
}
