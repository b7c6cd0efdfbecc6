package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// onSocket is one hostile receiver on a real socket, and how an attempt at it must end.
type onSocket struct {
	name, scheme string
	serve        func(net.Conn)
	verdict      Verdict
	reasons      []Reason
}

// everyHostileReceiver gathers the receivers of the other tests, which meet them one by one and in fake time, and those
// that there can only be on a socket.
func everyHostileReceiver(t testing.TB, ca *authority) []onSocket {
	cert := ca.issue(t, "hostile.example", longLeft)
	var all []onSocket
	for _, v := range hostileReceivers() {
		if strings.HasPrefix(v.name, "a 2xx just") {
			continue // ten milliseconds, which only fake time has
		}
		all = append(all, onSocket{v.name, "http", v.serve, v.verdict, closedMayReset(v.verdict, v.reason)})
	}
	for _, v := range endlessAnswers() {
		all = append(all, onSocket{v.name, "http", hostiletest.Floods(v.text, v.rest, new(atomic.Int64)), v.verdict, closedMayReset(v.verdict, v.reason)})
	}
	for _, v := range hostileHTTP2Receivers() {
		all = append(all, onSocket{"HTTP/2: " + v.name, "https", hostiletest.SpeaksHTTP2(cert, v.settings, v.then), v.verdict, closedMayReset(v.verdict, v.reasons...)})
	}
	return append(append(all, resettingReceivers(cert)...), brokenTLS(t, ca, cert)...)
}

// closedMayReset adds that a socket which is closed with something unread takes back what was written.
func closedMayReset(v Verdict, reasons ...Reason) []Reason {
	if v == Again && !slices.Contains(reasons, ReasonTimeout) {
		return append(slices.Clone(reasons), ReasonReset)
	}
	return reasons
}

// resettingReceivers end their connections with a real RST, at every moment there is.
func resettingReceivers(cert tls.Certificate) []onSocket {
	says := func(text string) func(net.Conn) { return hostiletest.Resets(hostiletest.Says(text)) }
	reset, delivered, failed := []Reason{ReasonReset}, []Reason{Reason2xx}, []Reason{Reason5xx}
	chunk := "4\r\nsome\r\n"
	return []onSocket{
		{"RST at once", "http", hostiletest.Resets(func(net.Conn) {}), Again, reset},
		{"RST within the request", "http", hostiletest.Resets(hostiletest.ReadsOne), Again, reset},
		{"RST before an answer", "http", says(""), Again, reset},
		{"RST within the status line", "http", says("HTTP/1.1 2"), Again, []Reason{ReasonProtocol}},
		{"RST after the status line", "http", says("HTTP/1.1 200 OK\r\n"), Again, reset},
		{"RST within the headers", "http", says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: a"), Again, reset},
		{"RST within the body after 200", "http", says(hostiletest.OK(1000, "some")), Delivered, delivered},
		{"RST before the body after 200", "http", says(hostiletest.OK(1000, "")), Delivered, delivered},
		{"RST within chunks after 200", "http", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk), Delivered, delivered},
		{"RST within the body after 500", "http", says("HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\nsome"), Again, failed},
		{"TLS: RST within the handshake", "https", hostiletest.Resets(hostiletest.ReadsOne), Again, []Reason{ReasonTLS}},
		{"TLS: RST before an answer", "https", hostiletest.ResetsTLS(cert, hostiletest.Says("")), Again, reset},
		{"TLS: RST within the headers", "https", hostiletest.ResetsTLS(cert, hostiletest.Says("HTTP/1.1 200 OK\r\nX-A: a")), Again, reset},
		{"TLS: RST within the body after 200", "https", hostiletest.ResetsTLS(cert, hostiletest.Says(hostiletest.OK(1000, "some"))), Delivered, delivered},
	}
}

func brokenTLS(t testing.TB, ca *authority, cert tls.Certificate) []onSocket {
	over := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			if s := tls.Server(conn, c); s.HandshakeContext(t.Context()) == nil {
				hostiletest.Says(hostiletest.OK(2, "ok"))(s)
			}
		}
	}
	bad := []Reason{ReasonTLS}
	strangers := newAuthority(t)
	return []onSocket{
		{"TLS: a proper one", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}}), Delivered, []Reason{Reason2xx}},
		{"TLS: expired", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "hostile.example", longAgo.Add(time.Hour))}}), Again, bad},
		{"TLS: of nobody known", "https", over(&tls.Config{Certificates: []tls.Certificate{strangers.issue(t, "hostile.example", longLeft)}}), Again, bad},
		{"TLS: of another name", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "other.example", longLeft)}}), Again, bad},
		{"TLS: 1.0", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), Again, bad}, //nolint:gosec // the test is about it
		{"TLS: the handshake stalls", "https", hostiletest.Hangs, Again, []Reason{ReasonTimeout}},
		{"TLS: garbage", "https", hostiletest.Says("garbage, not TLS\r\n\r\n"), Again, []Reason{ReasonTLS, ReasonReset}},
	}
}

// listenFor gives a hostile receiver an address, under the name that its certificates are for.
func listenFor(t testing.TB, v onSocket) string {
	t.Helper()
	return fmt.Sprintf("%s://hostile.example:%d/", v.scheme, hostiletest.Listen(t, v.serve).Port())
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
	ca := newAuthority(t)
	client, receivers := hostileClient(t, ca.pool), everyHostileReceiver(t, ca)
	ends := make([]Attempt, len(receivers))
	var attempts sync.WaitGroup
	for i, v := range receivers {
		target := mustTarget(t, TargetSpec{URL: listenFor(t, v)})
		attempts.Go(func() { ends[i] = client.Send(context.WithoutCancel(t.Context()), target, testEvent(), Meta{}) })
	}
	attempts.Wait()
	for i, v := range receivers {
		t.Run(v.name, func(t *testing.T) {
			wantOneOf(t, ends[i], v.verdict, v.reasons)
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
