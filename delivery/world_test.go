package delivery

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

const testSecret = "a secret nobody may see"

func mustSecret(t testing.TB, s string) Secret {
	t.Helper()
	secret, err := NewSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func mustClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// mustTarget compiles a target for development rules, signed with testSecret unless the spec brings its own.
func mustTarget(t testing.TB, s TargetSpec) *Target {
	t.Helper()
	return mustTargetUnder(t, s, Rules{AllowInsecure: true})
}

func mustTargetUnder(t testing.TB, s TargetSpec, r Rules) *Target {
	t.Helper()
	s.Survey = "s1"
	if s.Secrets == nil {
		s.Secrets = []SecretSpec{{Secret: mustSecret(t, testSecret)}}
	}
	target, err := NewTarget(s, r)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func testEvent() events.Event {
	return events.Event{
		ID: "r-1", Kind: "response.completed", Survey: "s1", Time: time.Unix(1700000000, 0),
		Body: []byte(`{"event":"response.completed","survey":{"id":"s1"},"response":{"id":"r-1"}}`),
	}
}

// send makes one attempt, and holds every attempt of every test to not leaking the secret.
func send(t testing.TB, c *Client, target *Target) Attempt {
	t.Helper()
	a := c.Send(t.Context(), target, testEvent(), Meta{Number: 1})
	assertNoSecret(t, a, testSecret, Sign(mustSecret(t, testSecret), testEvent().Body))
	return a
}

func wantEnd(t testing.TB, a Attempt, v Verdict, r Reason) {
	t.Helper()
	if a.Verdict != v || a.Reason != r {
		t.Errorf("got %s %s (status %d, %q), want %s %s", a.Verdict, a.Reason, a.Status, a.Detail, v, r)
	}
}

// assertNoSecret looks for secrets in a value, however it is written.
func assertNoSecret(t testing.TB, value any, secrets ...string) {
	t.Helper()
	leaktest.Plant(t, secrets...).InValue(t, fmt.Sprintf("a %T", value), value)
}

// receiver is a real HTTP server on loopback.
func receiver(t testing.TB, address string, h http.HandlerFunc) netip.AddrPort {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String())
}
