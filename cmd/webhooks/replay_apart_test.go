package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// bothWays is a receiver that counts on which way each event came.
type bothWays struct {
	mu           sync.Mutex // guards the rest
	live, replay map[string]int
}

func listenBothWays(t *testing.T) (*bothWays, string) {
	t.Helper()
	b := &bothWays{live: map[string]int{}, replay: map[string]int{}}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	return b, s.URL
}

// ServeHTTP takes a moment: something is in flight when a server is killed.
func (b *bothWays) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	time.Sleep(20 * time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Header.Get(delivery.HeaderReplay) == "" {
		b.live[r.Header.Get(delivery.HeaderDelivery)]++
		return
	}
	b.replay[r.Header.Get(delivery.HeaderDelivery)]++
}

// times says how often an event came on either way.
func (b *bothWays) times(id string) (live, replayed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[id], b.replay[id]
}

// publishNumbered publishes events r1, r2 and so on, from a number to another.
func publishNumbered(t *testing.T, js jetstream.JetStream, from, to int) {
	t.Helper()
	pub := events.NewPublisher(js, events.PublisherOptions{})
	for i := from; i <= to; i++ {
		_, err := pub.Publish(t.Context(), event("s1", fmt.Sprint("r", i)))
		must(t, err)
	}
}

// startReplay starts a replay as people do.
func startReplay(t *testing.T, n config.NATSSettings, flags ...string) (r replay.Record) {
	t.Helper()
	out, code := tryCommand(t, n, "", append([]string{"replay", "start", "--json"}, flags...)...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	_, record, _ := strings.Cut(out, "{") // behind what else it says
	must(t, json.Unmarshal([]byte("{"+record), &r))
	return r
}

// waitReplayed waits until a replay is done and its events are counted.
func waitReplayed(t *testing.T, js jetstream.JetStream, id string) (r replay.Record) {
	t.Helper()
	within(t, func() string {
		var err error
		if r, err = replay.Look(t.Context(), js, events.Names{}, id); err != nil || r.State != replay.Done || r.Uncounted() > 0 {
			return fmt.Sprintf("the replay is %+v, %v", r, err)
		}
		return ""
	})
	return r
}

// TestWhatNobodyHasSettledIsInNoReplay deletes the live consumer while the service is
// down. It is made again behind the mark; what lies there is its own, and no replay's.
func TestWhatNobodyHasSettledIsInNoReplay(t *testing.T) {
	t.Parallel()
	const settled, waiting = 3, 5
	s := externalNATS(t, &server.Options{})
	settings := testSettings(t.TempDir())
	settings.NATS.URL, settings.Keys.Ring = s.ClientURL(), newRing(t)
	got, url := listenBothWays(t)
	serve := func() (*service, func()) {
		v, err := openService(t.Context(), settings, noEnv, zerolog.Nop())
		must(t, err)
		return v, running(t, v)
	}
	v, end := serve()
	connect(t, v, "s1", url, plantedSecret)
	publishNumbered(t, v.js, 1, settled)
	within(t, func() string {
		if live, _ := got.times(fmt.Sprint("r", settled)); live == 0 {
			return "nothing is delivered"
		}
		return ""
	})
	end()

	js, err := jetstream.New(dial(t, s))
	must(t, err)
	must(t, js.DeleteConsumer(t.Context(), "RESPONSES", "webhooks"))
	publishNumbered(t, js, settled+1, settled+waiting)
	if out, code := tryCommand(t, settings.NATS, "", "replay", "start", "--since", fmt.Sprint(settled+1)); code == exitOK || !strings.Contains(out, "those up to 3 are settled") {
		t.Errorf("a replay of what is not settled: exit %d\n%s", code, out)
	}
	r := startReplay(t, settings.NATS, "--since", "1h")
	if r.End != settled {
		t.Errorf("the replay ends at %d, and everything is settled up to %d", r.End, settled)
	}
	v, end = serve()
	defer end()
	waitReplayed(t, js, r.ID)
	within(t, func() string {
		if live, _ := got.times(fmt.Sprint("r", settled+waiting)); live == 0 {
			return "the live consumer does not go on"
		}
		return ""
	})
	waitSettled(t, v)
	for i := 1; i <= settled+waiting; i++ {
		replayed := 0
		if i <= settled {
			replayed = 1
		}
		if l, r := got.times(fmt.Sprint("r", i)); l != 1 || r != replayed {
			t.Errorf("event %d came %d times live and %d times in the replay, want 1 and %d", i, l, r, replayed)
		}
	}
}

// natsProcess is a real nats-server that can be killed.
type natsProcess struct {
	bin, conf, address string
	cmd                *exec.Cmd
}

func newNATSProcess(t *testing.T) *natsProcess {
	t.Helper()
	dir := t.TempDir()
	address, err := newPorts().free()
	must(t, err)
	p := &natsProcess{bin: filepath.Join(dir, "nats-server"), conf: filepath.Join(dir, "nats.conf"), address: address}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.bin, "github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	must(t, os.WriteFile(p.conf, fmt.Appendf(nil, "listen: %q\nmax_payload: 8MB\njetstream { store_dir: %q, max_file_store: 1GB, sync_interval: always }\n", address, filepath.Join(dir, "store")), 0o600))
	p.start(t)
	t.Cleanup(func() { p.kill(t) })
	return p
}

func (p *natsProcess) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), p.bin, "-c", p.conf)
	must(t, p.cmd.Start())
	within(t, func() string {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", p.address)
		if err != nil {
			return "nats-server does not listen: " + err.Error()
		}
		must(t, c.Close())
		return ""
	})
}

// kill is what kill -9 does.
func (p *natsProcess) kill(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // it says that it was killed
}

// TestAReplaySurvivesAKilledNATS kills the server, whose word for what was settled
// lately is lost, and starts it on what is on its disk.
func TestAReplaySurvivesAKilledNATS(t *testing.T) {
	t.Parallel() // it mostly waits
	const stored, perSecond = 200, 50
	p := newNATSProcess(t)
	settings := testSettings(t.TempDir())
	settings.NATS.URL, settings.Keys.Ring = "nats://"+p.address, newRing(t)
	settings.Delivery.AckWait = 5 * time.Second // so long it takes until what was under way comes again
	v, err := openService(t.Context(), settings, noEnv, zerolog.Nop())
	must(t, err)
	defer running(t, v)()
	got, url := listenBothWays(t)
	connect(t, v, "s1", url, plantedSecret)
	publishNumbered(t, v.js, 1, stored)
	waitSettled(t, v)
	id := startReplay(t, settings.NATS, "--since", "1", "--until", fmt.Sprint(stored), "--rate", fmt.Sprint(perSecond)).ID
	within(t, func() string {
		if _, replayed := got.times(fmt.Sprint("r", stored/2)); replayed == 0 {
			return "half of it is not replayed"
		}
		return ""
	})
	p.kill(t)
	p.start(t)
	if _, replayed := got.times(fmt.Sprint("r", stored)); replayed > 0 {
		t.Error("the server was killed after the replay")
	}
	r := waitReplayed(t, v.js, id)
	if r.Counts.Sum() < stored || r.Counts.Delivered+r.Counts.Parked != r.Counts.Sum() {
		t.Errorf("of %d events the replay says %+v", stored, r.Counts)
	}
	within(t, func() string { // what is parked comes from its lane
		for i := 1; i <= stored; i++ {
			if _, replayed := got.times(fmt.Sprint("r", i)); replayed == 0 {
				return fmt.Sprintf("event %d was not replayed", i)
			}
		}
		return ""
	})
	twice := 0
	for i := 1; i <= stored; i++ {
		_, replayed := got.times(fmt.Sprint("r", i))
		twice += replayed - 1
	}
	if twice > 0 { // the replica lives on, and knows what the server has forgotten
		t.Errorf("%d events were replayed twice", twice)
	}
}
