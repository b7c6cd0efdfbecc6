package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/hostiletest"
	"github.com/popsee/webhooks/events"
)

// TestTheEventStreamIsDeletedUnderTheService has somebody delete the event stream and make it again: the service is not
// ready and says why, delivers nothing of the new stream until a person has decided, and then goes on, in the same
// process.
func TestTheEventStreamIsDeletedUnderTheService(t *testing.T) {
	t.Parallel() // it mostly waits
	v := open(t, t.TempDir(), zerolog.Nop())
	defer running(t, v)()
	owner := &ownersServer{accepted: map[string]int{}}
	receiver := httptest.NewServer(owner)
	defer receiver.Close()
	connect(t, v, "s1", receiver.URL, plantedSecret)
	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	_, err := pub.Publish(t.Context(), event("s1", "before"))
	must(t, err)
	within(t, func() string {
		if err := v.isReady(); err != nil {
			return "not ready: " + err.Error()
		}
		if !owner.has("before") {
			return "nothing is delivered"
		}
		return ""
	})

	must(t, v.js.DeleteStream(t.Context(), "RESPONSES"))
	within(t, func() string {
		if err := v.isReady(); err == nil {
			return "ready without an event stream"
		}
		return ""
	})
	if err := v.live(); err != nil {
		t.Errorf("a stream that is gone is no reason to be restarted: %v", err)
	}
	_, err = v.js.CreateStream(t.Context(), v.layout.Events())
	must(t, err)
	_, err = pub.Publish(t.Context(), event("s1", "after"))
	must(t, err)
	within(t, func() string {
		if err := v.isReady(); err == nil || !errors.As(err, new(*mark.Alarm)) || !strings.Contains(hintOf(err), "webhooks provision --resume-from first") {
			return fmt.Sprintf("ready says %v with the hint %q, want an alarm and what to do", err, hintOf(err))
		}
		return ""
	})
	if owner.has("after") {
		t.Error("an event of another stream was delivered before a person had decided")
	}
	point, err := mark.ParseResumePoint("first")
	must(t, err)
	_, err = mark.Resume(t.Context(), v.js, v.layout, point)
	must(t, err)
	within(t, func() string {
		if err := v.isReady(); err != nil {
			return "not ready after the resume: " + err.Error()
		}
		if !owner.has("after") {
			return "the event of the new stream is not delivered"
		}
		return ""
	})
	if n := owner.accepted["before"]; n != 1 {
		t.Errorf("the event before was accepted %d times", n)
	}
}

func (o *ownersServer) has(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted[id] > 0
}

// TestAFullStoreKeepsEventsUntilThereIsRoom fills what NATS may store until a failed event's copy does not fit: the event
// stays where it is, unacknowledged, which is logged and counted; publishers are refused. When there is room again all of
// them are delivered.
func TestAFullStoreKeepsEventsUntilThereIsRoom(t *testing.T) {
	t.Parallel() // it mostly waits
	var log lockedBuffer
	s := testSettings(t.TempDir())
	s.Embedded.MaxStore, s.Delivery.AckWait = 32<<20, 10*time.Second
	v, err := openService(t.Context(), s, noEnv, zerolog.New(&log))
	must(t, err)
	defer running(t, v)()
	connect(t, v, "s1", "http://127.0.0.1:1999/", plantedSecret) // nobody listens there
	_, err = v.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler.*"}})
	must(t, err)
	fill := func(subject string, size int) error {
		_, err := v.js.Publish(t.Context(), subject, make([]byte, size))
		return err
	}
	must(t, fill("filler.room", 100<<10)) // all the room there will be: enough to begin with a larger event, and not with its copy
	for err = nil; err == nil; {
		info, infoErr := v.js.AccountInfo(t.Context())
		must(t, infoErr)
		size := 16 << 10 // NATS takes a message as long as the store is not full before it
		if info.Store+4<<20 < uint64(s.Embedded.MaxStore) {
			size = 2 << 20
		}
		err = fill("filler.all", size)
	}
	if api := new(jetstream.APIError); !errors.As(err, &api) {
		t.Fatalf("the store is full, and NATS says %v", err)
	}
	filler, err := v.js.Stream(t.Context(), "FILLER")
	must(t, err)
	must(t, filler.Purge(t.Context(), jetstream.WithPurgeSubject("filler.room")))

	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	fits := []byte(strings.Replace(string(event("s1", "kept")), `"response":{`, `"response":{"pad":"`+strings.Repeat("x", 200<<10)+`",`, 1))
	_, err = pub.Publish(t.Context(), fits)
	must(t, err)
	within(t, func() string {
		if !strings.Contains(log.String(), "could not be parked") {
			return "nobody is told that an event cannot be parked"
		}
		return ""
	})
	if countedBy(t, v, "webhooks_custody_failures_total") == 0 {
		t.Error("what could not be parked is not counted, and no alert will say so")
	}
	if _, err := pub.Publish(t.Context(), event("s1", "another")); err == nil {
		t.Error("an event for which there is no room was accepted")
	}
	c, err := v.js.Consumer(t.Context(), "RESPONSES", "webhooks")
	must(t, err)
	if n := owed(c.CachedInfo()); n != 1 {
		t.Errorf("%d events are unacknowledged, want the one that could not be parked", n)
	}

	must(t, v.js.DeleteStream(t.Context(), "FILLER"))
	owner := &ownersServer{accepted: map[string]int{}}
	receiver := httptest.NewServer(owner)
	defer receiver.Close()
	connectAgain(t, v, "s1", receiver.URL)
	within(t, func() string {
		if !owner.has("kept") {
			return "there is room, and the event that was kept is not delivered"
		}
		return ""
	})
	waitSettled(t, v)
}

// TestAURLThatTurnsPrivateBetweenTries has somebody write past every check of ours: while an endpoint's event is tried,
// its value in the bucket becomes one that leads to this machine. Nothing goes there, whatever had been looked up before;
// the event waits, and is delivered when the endpoint is what it was.
func TestAURLThatTurnsPrivateBetweenTries(t *testing.T) {
	t.Parallel() // it mostly waits
	trap, ca := hostiletest.NewCanary(t, "127.0.0.1:0"), hostiletest.NewAuthority(t)
	s := testSettings(t.TempDir())
	s.Delivery.AllowInsecure, s.Delivery.Allow = false, []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	s.Delivery.CABundle = filepath.Join(t.TempDir(), "authority.pem")
	must(t, os.WriteFile(s.Delivery.CABundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}), 0o600))
	var log lockedBuffer
	v, err := openService(t.Context(), s, noEnv, zerolog.New(&log))
	must(t, err)
	defer running(t, v)()
	kv, err := v.js.KeyValue(t.Context(), v.layout.Names.Endpoints())
	must(t, err)

	owner := &ownersServer{accepted: map[string]int{}}
	var good, bad []byte // what the bucket holds
	var turn sync.Once
	var private atomic.Bool
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.2:0")
	must(t, err)
	receiver := &httptest.Server{Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.2", hostiletest.LongLeft)}}}
	receiver.Config = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn.Do(func() {
			private.Store(true)
			if _, err := kv.Put(context.WithoutCancel(r.Context()), "s1", bad); err != nil {
				t.Error(err)
			}
			within(t, func() string {
				if _, _, err := v.store.Target(r.Context(), "s1"); err == nil {
					return "the service does not see that the endpoint has turned private"
				}
				return ""
			})
		})
		if private.Load() { // what is sent here was looked up before
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		owner.ServeHTTP(w, r)
	})}
	receiver.StartTLS()
	defer receiver.Close()
	connect(t, v, "s1", receiver.URL, plantedSecret)
	entry, err := kv.Get(t.Context(), "s1")
	must(t, err)
	good = entry.Value()
	bad = bytes.Replace(good, []byte(receiver.URL), []byte("https://"+trap.Addr.String()), 1)
	if bytes.Equal(good, bad) {
		t.Fatalf("the URL is not in %s", good)
	}

	_, err = events.NewPublisher(v.js, events.PublisherOptions{}).Publish(t.Context(), event("s1", "r1"))
	must(t, err)
	within(t, func() string {
		if !strings.Contains(log.String(), "cannot be used until somebody mends it") {
			return "the event has not met the endpoint that turned private"
		}
		return ""
	})
	trap.Untouched(t)
	private.Store(false)
	_, err = kv.Put(t.Context(), "s1", good)
	must(t, err)
	within(t, func() string {
		if !owner.has("r1") {
			return "the endpoint is what it was, and its event is not delivered"
		}
		return ""
	})
	trap.Untouched(t)

	open := delivery.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	client, err := delivery.NewClient(delivery.Options{Rules: open})
	must(t, err)
	defer client.Close()
	target, err := delivery.NewTarget(delivery.TargetSpec{Survey: "s1", URL: "https://" + trap.Addr.String()}, open)
	must(t, err)
	client.Send(t.Context(), target, events.Event{ID: "r1", Kind: events.KindCompleted, Survey: "s1", Body: []byte("{}")}, delivery.Meta{})
	trap.Touched(t) // where nothing keeps them from it, events come there
}

// countedBy is the sum of a counter's series.
func countedBy(t *testing.T, v *service, name string) (sum float64) {
	t.Helper()
	families, err := v.metrics.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
