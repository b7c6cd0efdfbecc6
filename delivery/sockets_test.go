package delivery

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

const hostileHost = "hostile.example"

// wantEndOf checks that an attempt ended in one of the ways that a hostile receiver leaves it.
func wantEndOf(t testing.TB, a Attempt, v hostiletest.Receiver) {
	t.Helper()
	if a.Verdict.String() != v.Verdict || !slices.Contains(v.Reasons, string(a.Reason)) {
		t.Errorf("got %s %s (status %d, %q), want %s %v", a.Verdict, a.Reason, a.Status, a.Detail, v.Verdict, v.Reasons)
	}
}

// hostileClient reaches them there.
func hostileClient(t *testing.T, trusted *x509.CertPool) *Client {
	t.Helper()
	return mustClient(t, Options{RootCAs: trusted, Rules: Rules{AllowInsecure: true}, Resolver: resolver(t, func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
		return addresses(k, "127.0.0.1")
	})})
}

// Each hostile receiver, on a real socket and all of them at once, ends as it does alone.
func TestHostileReceiversOnSockets(t *testing.T) {
	ca := hostiletest.NewAuthority(t)
	client, receivers := hostileClient(t, ca.Pool), hostiletest.Every(t, ca, hostileHost)
	ends := make([]Attempt, len(receivers))
	var attempts sync.WaitGroup
	for i, v := range receivers {
		target := mustTarget(t, TargetSpec{URL: fmt.Sprintf("%s://%s:%d/", v.Scheme, hostileHost, v.Listen(t).Port())})
		attempts.Go(func() { ends[i] = client.Send(context.WithoutCancel(t.Context()), target, testEvent(), Meta{}) })
	}
	attempts.Wait()
	for i, v := range receivers {
		t.Run(v.Name, func(t *testing.T) {
			wantEndOf(t, ends[i], v)
			if ends[i].Took > 5500*time.Millisecond {
				t.Errorf("took %s", ends[i].Took)
			}
		})
	}
}

// What Resets sends is an RST, and no FIN that tests could take for one.
func TestResetsAreRealOnes(t *testing.T) {
	at := hostiletest.Listen(t, hostiletest.Resets(hostiletest.ReadsOne))
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// A kept connection that is reset when the next event comes in fails that attempt, which is counted; one that was reset
// before is replaced, and the attempt does not notice.
func TestResetOnReuse(t *testing.T) {
	for name, v := range map[string]struct {
		waits   bool // for the next request, before it resets
		verdict Verdict
		reason  Reason
	}{"under the next request": {true, Again, ReasonReset}, "while nobody uses it": {false, Delivered, Reason2xx}} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{}, 10)
			at := hostiletest.Listen(t, func(c net.Conn) {
				hostiletest.Says(hostiletest.OK(2, "ok"))(c)
				if v.waits {
					hostiletest.ReadsOne(c)
				}
				hostiletest.Resets(func(net.Conn) {})(c)
				gone <- struct{}{}
			})
			client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + at.String()})
			wantEnd(t, send(t, client, target), Delivered, Reason2xx)
			if !v.waits {
				<-gone
			}
			wantEnd(t, send(t, client, target), v.verdict, v.reason)
			wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		})
	}
}
