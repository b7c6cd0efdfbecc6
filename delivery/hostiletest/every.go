package hostiletest

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Receiver is one that does what none should on a real socket, and how an attempt at
// it must end.
type Receiver struct {
	Name, Scheme string
	Serve        func(net.Conn) // nil: nobody accepts a connection
	Verdict      string
	Reasons      []string
	Holds        bool // whoever sends there, for as long as he has patience
}

// Every gathers all there are: those that can be met in fake time, and those that
// there can only be on a socket. They prove to be host by certificates of ca.
func Every(t testing.TB, ca *Authority, host string) []Receiver {
	cert := ca.Issue(t, host, LongLeft)
	var all []Receiver
	for _, v := range OneByOne() {
		if strings.HasPrefix(v.Name, "a 2xx just") {
			continue // ten milliseconds, which only fake time has
		}
		all = append(all, Receiver{v.Name, "http", v.Serve, v.Verdict, closedMayReset(v.Verdict, v.Reason), v.Took > 0})
	}
	for _, v := range EndlessAnswers() {
		all = append(all, Receiver{v.Name, "http", Floods(v.Text, v.Rest, new(atomic.Int64)), v.Verdict, closedMayReset(v.Verdict, v.Reason), false})
	}
	for _, v := range OverHTTP2() {
		all = append(all, Receiver{"HTTP/2: " + v.Name, "https", SpeaksHTTP2(cert, v.Settings, v.Then), v.Verdict, closedMayReset(v.Verdict, v.Reasons...), v.Most > 0})
	}
	all = append(append(all, resettingReceivers(cert)...), brokenTLS(t, ca, cert, host)...)
	return append(all, Receiver{"nobody accepts", "http", nil, isAgain, []string{isTimeout}, true})
}

// Listen gives it a new port of this machine until the test ends.
func (r Receiver) Listen(t testing.TB) netip.AddrPort {
	t.Helper()
	if r.Serve == nil {
		return listenDeaf(t)
	}
	return Listen(t, r.Serve)
}

// closedMayReset adds that a socket which is closed with something unread takes back what was written.
func closedMayReset(verdict string, reasons ...string) []string {
	if verdict == isAgain && !slices.Contains(reasons, isTimeout) {
		return append(slices.Clone(reasons), isReset)
	}
	return reasons
}

// resettingReceivers end their connections with a real RST, at every moment there is.
func resettingReceivers(cert tls.Certificate) []Receiver {
	says := func(text string) func(net.Conn) { return Resets(Says(text)) }
	reset, delivered, failed := []string{isReset}, []string{is2xx}, []string{is5xx}
	chunk := "4\r\nsome\r\n"
	return []Receiver{
		{"RST at once", "http", Resets(func(net.Conn) {}), isAgain, reset, false},
		{"RST within the request", "http", Resets(ReadsOne), isAgain, reset, false},
		{"RST before an answer", "http", says(""), isAgain, reset, false},
		{"RST within the status line", "http", says("HTTP/1.1 2"), isAgain, []string{isProtocol}, false},
		{"RST after the status line", "http", says("HTTP/1.1 200 OK\r\n"), isAgain, reset, false},
		{"RST within the headers", "http", says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: a"), isAgain, reset, false},
		{"RST within the body after 200", "http", says(OK(1000, "some")), isDelivered, delivered, false},
		{"RST before the body after 200", "http", says(OK(1000, "")), isDelivered, delivered, false},
		{"RST within chunks after 200", "http", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk), isDelivered, delivered, false},
		{"RST within the body after 500", "http", says("HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\nsome"), isAgain, failed, false},
		{"TLS: RST within the handshake", "https", Resets(ReadsOne), isAgain, []string{isTLS}, false},
		{"TLS: RST before an answer", "https", ResetsTLS(cert, Says("")), isAgain, reset, false},
		{"TLS: RST within the headers", "https", ResetsTLS(cert, Says("HTTP/1.1 200 OK\r\nX-A: a")), isAgain, reset, false},
		{"TLS: RST within the body after 200", "https", ResetsTLS(cert, Says(OK(1000, "some"))), isDelivered, delivered, false},
	}
}

func brokenTLS(t testing.TB, ca *Authority, cert tls.Certificate, host string) []Receiver {
	over := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			if s := tls.Server(conn, c); s.HandshakeContext(t.Context()) == nil {
				Says(OK(2, "ok"))(s)
			}
		}
	}
	bad := []string{isTLS}
	strangers := NewAuthority(t)
	return []Receiver{
		{"TLS: a proper one", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}}), isDelivered, []string{is2xx}, false},
		{"TLS: expired", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.Issue(t, host, LongAgo.Add(time.Hour))}}), isAgain, bad, false},
		{"TLS: of nobody known", "https", over(&tls.Config{Certificates: []tls.Certificate{strangers.Issue(t, host, LongLeft)}}), isAgain, bad, false},
		{"TLS: of another name", "https", over(&tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "other.example", LongLeft)}}), isAgain, bad, false},
		{"TLS: 1.0", "https", over(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), isAgain, bad, false}, //nolint:gosec // the test is about it
		{"TLS: the handshake stalls", "https", Hangs, isAgain, []string{isTimeout}, true},
		{"TLS: garbage", "https", Says("garbage, not TLS\r\n\r\n"), isAgain, []string{isTLS, isReset}, false},
	}
}
