package main

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/events"
)

// troubled is a service on a NATS of its own to which things happen.
type troubled struct {
	root  *testing.T     // servers live as long as it
	t     *testing.T     // what happens now
	o     server.Options // what the server is started with
	bus   *server.Server
	v     *service
	owner *ownersServer
	log   *lockedBuffer
	seq   int
}

// restart starts the server again on its store and its port, with other options.
func (w *troubled) restart(change func(*server.Options)) {
	w.t.Helper()
	w.bus.Shutdown()
	w.bus.WaitForShutdown()
	o := w.o
	o.Port = port(w.bus)
	change(&o)
	w.bus = started(w.root, &o)
}

func port(s *server.Server) int {
	var p int
	_, _ = fmt.Sscanf(s.ClientURL()[strings.LastIndex(s.ClientURL(), ":")+1:], "%d", &p)
	return p
}

// platform is a connection that nothing of the trouble is meant for.
func (w *troubled) platform() jetstream.JetStream {
	w.t.Helper()
	js, err := jetstream.New(dial(w.root, w.bus, nats.UserInfo("platform", "p")))
	if err != nil {
		w.t.Fatal(err)
	}
	return js
}

// publish publishes an event and gives its id.
func (w *troubled) publish(survey events.Survey, extra int) string {
	w.t.Helper()
	w.seq++
	id := fmt.Sprint("r", w.seq)
	body := strings.Replace(string(event(survey, id)), `"response":{`, `"response":{"pad":"`+strings.Repeat("x", extra)+`",`, 1)
	ack, err := w.platform().Publish(w.t.Context(), "responses.completed."+string(survey), []byte(body))
	if err != nil || ack.Sequence == 0 {
		w.t.Fatal(err)
	}
	return id
}

func (w *troubled) wantAccepted(ids ...string) {
	w.t.Helper()
	within(w.t, func() string {
		w.owner.mu.Lock()
		defer w.owner.mu.Unlock()
		for _, id := range ids {
			if w.owner.accepted[id] == 0 {
				return "event " + id + " is not delivered"
			}
		}
		return ""
	})
}

// TestWhatNATSMayDoToUs does to a running service what people and servers do to
// NATS, one after the other. Each time events that were stored are delivered, as
// soon as that can be, by the same process.
func TestWhatNATSMayDoToUs(t *testing.T) {
	t.Parallel() // it mostly waits
	open := &server.Permissions{}
	users := func(service *server.Permissions) []*server.User {
		return []*server.User{{Username: "service", Password: "s", Permissions: service}, {Username: "platform", Password: "p"}}
	}
	w := &troubled{root: t, t: t, owner: &ownersServer{accepted: map[string]int{}}, log: &lockedBuffer{}}
	w.o = server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
		Users: users(open), LameDuckDuration: time.Second, LameDuckGracePeriod: -100 * time.Millisecond,
	}
	o := w.o
	w.bus = started(t, &o)
	s := testSettings(t.TempDir())
	s.NATS.URL, s.NATS.User, s.NATS.Password, s.Keys.Ring = w.bus.ClientURL(), "service", "s", newRing(t)
	s.Delivery.AckWait = 10 * time.Second
	var err error
	if w.v, err = openService(t.Context(), s, noEnv, zerolog.New(w.log)); err != nil {
		t.Fatal(err)
	}
	defer running(t, w.v)()
	receiver := httptest.NewServer(w.owner)
	defer receiver.Close()
	connect(t, w.v, "s1", receiver.URL, plantedSecret)
	w.wantAccepted(w.publish("s1", 0))

	happen := func(name string, trouble func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			w.t = t
			trouble(t)
			if err := w.v.live(); err != nil {
				t.Errorf("not live: %v", err)
			}
		})
		w.t = t
	}
	happen("the event stream is purged", func(t *testing.T) {
		stream, err := w.platform().Stream(t.Context(), "RESPONSES")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantAccepted(w.publish("s1", 0))
	})
	happen("the lanes are purged", func(t *testing.T) {
		connect(t, w.v, "s2", "http://127.0.0.1:1999/", plantedSecret)
		w.publish("s2", 0)
		waitSettled(t, w.v)
		stream, err := w.platform().Stream(t.Context(), "WEBHOOK_LANES")
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != 1 {
			t.Fatalf("%d events are parked, want the one to purge", n)
		}
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		connect(t, w.v, "s3", receiver.URL, plantedSecret)
		w.wantAccepted(w.publish("s1", 0), w.publish("s3", 0))
		later := w.publish("s2", 0) // behind what is gone, in the same lane
		waitSettled(t, w.v)
		connectAgain(t, w.v, "s2", receiver.URL)
		w.wantAccepted(later)
	})
	happen("lame duck, and a server that comes back", func(t *testing.T) {
		w.bus.LameDuckShutdown()
		w.restart(func(*server.Options) {})
		w.wantAccepted(w.publish("s1", 0))
	})
	happen("permissions are revoked, and given back", func(t *testing.T) {
		w.restart(func(o *server.Options) {
			o.Users = users(&server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"nothing"}}})
		})
		id := w.publish("s1", 0)
		within(t, func() string {
			if !strings.Contains(strings.ToLower(w.log.String()), "permissions violation") {
				return "nobody is told of the permissions that lack"
			}
			return ""
		})
		w.restart(func(*server.Options) {})
		w.wantAccepted(id, w.publish("s1", 0))
	})
	happen("max_payload is lowered below what is stored", func(t *testing.T) {
		connect(t, w.v, "s4", "http://127.0.0.1:1999/", plantedSecret)
		large := w.publish("s4", 200<<10) // it must be parked, and cannot be copied any more
		w.restart(func(o *server.Options) { o.MaxPayload = 64 << 10 })
		again := w.publish("s1", 0)
		w.wantAccepted(again)
		within(t, func() string {
			if !strings.Contains(w.log.String(), nats.ErrMaxPayload.Error()) {
				return "nobody is told that an event cannot be parked, and why"
			}
			return ""
		})
		w.restart(func(*server.Options) {})
		connectAgain(t, w.v, "s4", receiver.URL)
		w.wantAccepted(large)
	})
	happen("the live consumer is deleted", func(t *testing.T) {
		if err := w.platform().DeleteConsumer(t.Context(), "RESPONSES", "webhooks"); err != nil {
			t.Fatal(err)
		}
		w.wantAccepted(w.publish("s1", 0))
	})
	for id, n := range w.owner.accepted {
		if n > 3 {
			t.Errorf("event %s was sent %d times", id, n)
		}
	}
}

// connectAgain points an endpoint elsewhere.
func connectAgain(t *testing.T, v *service, survey events.Survey, url string) {
	t.Helper()
	within(t, func() string {
		ep, err := v.store.Get(t.Context(), survey)
		if err == nil {
			ep.URL = url
			_, err = v.store.Put(t.Context(), ep)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestCredentialsThatExpireAreReadAnew has NATS close a connection whose
// credentials have expired: the service comes back as soon as the file holds new
// ones, without a restart.
func TestCredentialsThatExpireAreReadAnew(t *testing.T) {
	t.Parallel()
	operated, file := newOperated(t), filepath.Join(t.TempDir(), "user.creds")
	o := &server.Options{}
	operated.asks(o)
	bus := externalNATS(t, o)
	operated.issue(t, file, time.Now().Add(3*time.Second))
	var log lockedBuffer
	s := testSettings(t.TempDir())
	s.NATS.URL, s.NATS.Creds, s.Keys.Ring = bus.ClientURL(), file, newRing(t)
	v, err := openService(t.Context(), s, noEnv, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer running(t, v)()
	within(t, func() string {
		if v.nc.Status() == nats.CONNECTED {
			return "the expired connection is still there"
		}
		return ""
	})
	if err := v.isReady(); err == nil {
		t.Error("ready although NATS refuses us")
	}
	operated.issue(t, file, time.Now().Add(time.Hour))
	owner := &ownersServer{accepted: map[string]int{}}
	receiver := httptest.NewServer(owner)
	defer receiver.Close()
	within(t, func() string {
		if err := v.isReady(); err != nil {
			return "not ready with new credentials: " + err.Error()
		}
		return ""
	})
	connect(t, v, "s1", receiver.URL, plantedSecret)
	if _, err := events.NewPublisher(v.js, events.PublisherOptions{}).Publish(t.Context(), event("s1", "r1")); err != nil {
		t.Fatal(err)
	}
	waitSettled(t, v)
}
