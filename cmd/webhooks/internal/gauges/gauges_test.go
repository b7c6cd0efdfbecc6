package gauges

import (
	"math"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/popsee/webhooks/cmd/webhooks/internal/natsd"
	"github.com/popsee/webhooks/events"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestPeersThatAreNotCurrentAreBehind(t *testing.T) {
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    int
	}{
		"no cluster":    {nil, 0},
		"all current":   {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Current: true}, {Current: true}}}, 0},
		"one offline":   {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Current: true}, {Current: true, Offline: true}}}, 1},
		"one lags":      {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{}, {Current: true}}}, 1},
		"nobody leads":  {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{{Current: true}, {Current: true}}}, 1},
		"nobody at all": {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{{}, {}}}, 3},
	} {
		if got := peersBehind(c.cluster); got != c.want {
			t.Errorf("%s: %d are behind, want %d", name, got, c.want)
		}
	}
}

// TestAStreamThatIsGoneMakesTheGaugesOld asks a real server, first for streams that
// are there and then without one of them.
func TestAStreamThatIsGoneMakesTheGaugesOld(t *testing.T) {
	server, err := natsd.Start(natsd.Options{DataDir: t.TempDir(), MaxStore: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Shutdown() }()
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := events.Names{}
	for _, name := range []string{names.Stream(), names.Lanes(), names.DeadLetters(), names.Attempts()} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}, MaxBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), names.Lanes(), []byte("waits")); err != nil {
		t.Fatal(err)
	}
	s := NewStreams(js, names, 64<<20, prometheus.NewRegistry())
	if !s.ask(t.Context()) {
		t.Error("not everything was answered")
	}
	if got := testutil.ToFloat64(s.messages.WithLabelValues("lanes")); got != 1 {
		t.Errorf("the lanes hold %v messages, want 1", got)
	}
	if got := testutil.ToFloat64(s.limit.WithLabelValues("lanes")); got != 1<<20 {
		t.Errorf("the lanes may hold %v bytes", got)
	}
	if got := testutil.ToFloat64(s.storeMost); got != 64<<20 {
		t.Errorf("the store may hold %v bytes", got)
	}
	if err := js.DeleteStream(t.Context(), names.Lanes()); err != nil {
		t.Fatal(err)
	}
	if s.ask(t.Context()) {
		t.Error("a stream that is gone counts as seen")
	}
}

// A metric is asked in a goroutine of the collector's, where nobody else would catch it.
// Without a connection there is nothing that could be asked.
func TestAGaugeThatPanicsIsNotANumber(t *testing.T) {
	reg := prometheus.NewRegistry()
	fails := func() error { panic("a") }
	Process{Ready: fails, Endpoints: func() int { return 3 }, Unloaded: func() int { return 0 }, Current: func() bool { panic("b") }}.Register(reg)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range all {
		if g := f.GetMetric()[0].GetGauge(); g != nil {
			seen[f.GetName()] = g.GetValue()
		}
		if c := f.GetMetric()[0].GetCounter(); c != nil {
			seen[f.GetName()] = c.GetValue()
		}
	}
	for _, name := range []string{"webhooks_ready", "webhooks_endpoints_current", "webhooks_nats_connected", "webhooks_nats_reconnects_total"} {
		if v, there := seen[name]; !there || !math.IsNaN(v) {
			t.Errorf("%s is %v (shown: %v), want no number", name, v, there)
		}
	}
	if seen["webhooks_endpoints"] != 3 {
		t.Errorf("got %v", seen)
	}
}
