package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/backup"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// movingOwner is a survey's owner who outlives a move.
type movingOwner struct {
	secret delivery.Secret

	mu       sync.Mutex // guards what follows
	up       bool
	accepted map[string]int // live and from lanes
	replayed map[string]int
	unsigned int
}

func newMovingOwner(t *testing.T, secret string, up bool) (*movingOwner, string) {
	t.Helper()
	s, err := delivery.NewSecret(secret)
	must(t, err)
	o := &movingOwner{secret: s, up: up, accepted: map[string]int{}, replayed: map[string]int{}}
	at := httptest.NewServer(o)
	t.Cleanup(at.Close)
	return o, at.URL
}

func (o *movingOwner) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.up {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if req.Header.Get("X-Popsee-Signature") != delivery.Sign(o.secret, body) {
		o.unsigned++
	}
	if req.Header.Get("X-Popsee-Replay") != "" {
		o.replayed[req.Header.Get(delivery.HeaderDelivery)]++
		return
	}
	o.accepted[req.Header.Get(delivery.HeaderDelivery)]++
}

func (o *movingOwner) set(up bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.up = up
}

// counts copies what was accepted.
func (o *movingOwner) counts() (accepted, replayed map[string]int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.accepted), maps.Clone(o.replayed)
}

// clusterOfThree is three servers with JetStream that know each other.
func clusterOfThree(t *testing.T) string {
	t.Helper()
	free := newPorts()
	var routes []*url.URL
	for range 3 {
		at, err := free.free()
		must(t, err)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: at})
	}
	var all []string
	for i, route := range routes {
		host, port, err := net.SplitHostPort(route.Host)
		must(t, err)
		o := &server.Options{ServerName: fmt.Sprint("node", i), Routes: routes, Host: host, Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 8 << 20}
		o.Cluster.Name, o.Cluster.Host = "moved-to", host
		_, err = fmt.Sscan(port, &o.Cluster.Port)
		must(t, err)
		s, err := server.NewServer(o)
		must(t, err)
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s.ClientURL())
	}
	return strings.Join(all, ",")
}

// loadPublisher notes what it was told of each event.
type loadPublisher struct {
	t    *testing.T
	pub  *events.Publisher
	mu   sync.Mutex // guards seqs
	seqs map[string]uint64
}

func (p *loadPublisher) publish(survey events.Survey, id string) {
	ack, err := p.pub.Publish(p.t.Context(), event(survey, id))
	if err != nil {
		p.t.Error(err)
		return
	}
	p.mu.Lock()
	p.seqs[id] = ack.Sequence
	p.mu.Unlock()
}

// TestADeploymentMovesFromOneServerToAClusterUnderLoad backs a service up that has
// everything there is (events under way, lanes, dead letters, a replay, sealed secrets),
// while it works, and goes on with it on three nodes.
func TestADeploymentMovesFromOneServerToAClusterUnderLoad(t *testing.T) {
	data, folder := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	settings := testSettings(data)
	settings.Embedded.Listen = "127.0.0.1:0"
	v, err := openService(t.Context(), settings, noEnv, zerolog.Nop())
	must(t, err)
	end := running(t, v)
	defer end()
	here := config.NATSSettings{URL: v.embedded.URL()}
	up, upURL := newMovingOwner(t, "the first secret", true)
	down, downURL := newMovingOwner(t, "the second secret", false)
	connect(t, v, "s1", upURL, "the first secret")
	connect(t, v, "s2", downURL, "the second secret")

	p := &loadPublisher{t: t, pub: events.NewPublisher(v.js, events.PublisherOptions{}), seqs: map[string]uint64{}}
	for i := range 60 {
		p.publish("s1", fmt.Sprint("old", i))
		p.publish("s2", fmt.Sprint("late", i))
	}
	_, err = v.js.Publish(t.Context(), "responses.completed.s1", []byte("no event at all"))
	must(t, err)
	waitSettled(t, v)
	settledBefore, _ := up.counts()
	if out, code := tryCommand(t, here, "", "replay", "start", "--survey", "s1", "--since", "1", "--rate", "10", "--reason", "a move"); code != exitOK {
		t.Fatal(out)
	}
	within(t, func() string {
		if _, replayed := up.counts(); len(replayed) == 0 {
			return "the replay has not begun"
		}
		return ""
	})

	stop := make(chan struct{})
	var publishing sync.WaitGroup
	for n := range 8 {
		publishing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p.publish(events.Survey(fmt.Sprint("s", i%2+1)), fmt.Sprint("during", n, "-", i))
			}
		})
	}
	within(t, func() string {
		if accepted, _ := up.counts(); len(accepted) < 100 {
			return "there is no load"
		}
		return ""
	})
	out, code := tryCommand(t, here, "", "backup", folder, "--json")
	close(stop)
	publishing.Wait()
	if code != exitOK {
		t.Fatal(out)
	}
	var m backup.Manifest
	must(t, json.Unmarshal([]byte(out), &m))
	end()
	_, replayedThere := up.counts()

	there := config.NATSSettings{URL: clusterOfThree(t)}
	within(t, func() string {
		if out, code := tryCommand(t, there, "", "restore", folder, "--dry-run"); code != exitOK || !strings.Contains(out, "3 copies") {
			return out
		}
		return ""
	})
	if out, code := tryCommand(t, there, "", "restore", folder); code != exitOK {
		t.Fatal(out)
	}
	if out, code := tryCommand(t, there, "", "restore", folder); code != exitConflict {
		t.Errorf("restored over what is there: exit %d\n%s", code, out)
	}

	down.set(true)
	moved := testSettings(t.TempDir())
	moved.NATS, moved.Keys.Ring = there, filepath.Join(data, "keyring.json")
	var log lockedBuffer
	v, err = openService(t.Context(), moved, noEnv, zerolog.New(&log))
	must(t, err)
	for _, stream := range []string{"RESPONSES", "WEBHOOK_LANES", "KV_webhook_endpoints", "KV_webhook_shards"} {
		s, err := v.js.Stream(t.Context(), stream)
		must(t, err)
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("stream %s has %d replicas", stream, n)
		}
	}
	endMoved := running(t, v)
	defer endMoved()

	last := uint64(0) // of the event stream, in the backup
	for _, a := range m.Streams {
		if a.Stream == "RESPONSES" {
			last = a.Last
		}
	}
	during := 0
	within(t, func() string {
		accepted, replayed := up.counts()
		late, _ := down.counts()
		during = 0
		for id, seq := range p.seqs {
			if seq > last {
				continue // published when the backup had begun, and after its copy
			}
			if strings.HasPrefix(id, "during") {
				during++
			}
			if accepted[id]+late[id] == 0 {
				return fmt.Sprintf("event %s at %d was never accepted", id, seq)
			}
		}
		for id := range settledBefore {
			if replayed[id] == 0 {
				return fmt.Sprintf("event %s was never replayed", id)
			}
		}
		return ""
	})
	if during == 0 {
		t.Error("nothing was published while the backup was made: it was not under load")
	}
	accepted, replayed := up.counts()
	for id, n := range accepted {
		if p.seqs[id] <= m.Settled && n > 1 {
			t.Errorf("event %s at %d was settled when the backup was made, and accepted %d times", id, p.seqs[id], n)
		}
	}
	repeats := 0
	for id, n := range replayed {
		if n > 1 {
			repeats++
		}
		if p.seqs[id] == 0 {
			t.Errorf("event %s was replayed and never published", id)
		}
	}
	if repeats > len(replayedThere) || repeats == len(replayed) {
		t.Errorf("%d of %d events were replayed twice: the replay began anew", repeats, len(replayed))
	}
	if up.unsigned+down.unsigned > 0 {
		t.Errorf("%d requests were not signed with their secrets", up.unsigned+down.unsigned)
	}
	wantSays(t, there, "malformed", "dead-letters", "list")
	wantSays(t, there, "done", "replay", "list")
	within(t, func() string { // the lanes are empty, and every event is accounted for
		out, code := tryCommand(t, there, "", "audit", "--json")
		if code != exitOK || !strings.Contains(out, `"waiting-lane":0`) {
			return out
		}
		return ""
	})
	p.pub = events.NewPublisher(v.js, events.PublisherOptions{})
	p.publish("s1", "new")
	within(t, func() string {
		if accepted, _ := up.counts(); accepted["new"] != 1 {
			return "what is published on the cluster is not delivered"
		}
		return ""
	})
	for range 3 { // the nodes do not agree on when the stream was created
		if _, err := v.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.RESPONSES", nil, patience); err != nil {
			t.Fatal(err)
		}
		wantSays(t, there, "all settled up to", "status")
	}
	back := filepath.Join(t.TempDir(), "back")
	if out, code := tryCommand(t, there, "", "backup", back); code != exitOK {
		t.Error(out)
	}
	if out, code := tryCommand(t, there, "", "restore", back, "--offline", "--data-dir", t.TempDir()); code != exitOK || !strings.Contains(out, "one copy of each stream") {
		t.Errorf("from the cluster to one server: exit %d\n%s", code, out)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"level":"error"`) && !strings.Contains(line, `"reason":"malformed"`) { // the replay meets it again
			t.Errorf("the service complains: %s", line)
		}
	}
}

func wantSays(t *testing.T, n config.NATSSettings, want string, args ...string) {
	t.Helper()
	within(t, func() string {
		if out, code := tryCommand(t, n, "", args...); code != exitOK || !strings.Contains(out, want) {
			return fmt.Sprintf("webhooks %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
		return ""
	})
}
