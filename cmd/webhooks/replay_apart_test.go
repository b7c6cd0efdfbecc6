package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	must(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &r))
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
