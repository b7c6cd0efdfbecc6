package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// handshaker is a TLS server on loopback that counts what it is sent after a
// handshake.
func handshaker(t *testing.T, cert tls.Certificate) (address netip.AddrPort, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	address = hostiletest.Listen(t, func(conn net.Conn) {
		c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
		if n, _ := c.Read(make([]byte, 1)); n > 0 {
			asked.Add(1)
		}
		_ = c.Close()
	})
	return address, asked
}

func TestHandshake(t *testing.T) {
	ca, other := hostiletest.NewAuthority(t), hostiletest.NewAuthority(t)
	until := time.Date(2061, 1, 31, 12, 0, 0, 0, time.UTC)
	good, asked := handshaker(t, ca.Issue(t, "127.0.0.1", until))
	expired, _ := handshaker(t, ca.Issue(t, "127.0.0.1", hostiletest.LongAgo.Add(time.Hour)))
	misnamed, _ := handshaker(t, ca.Issue(t, "example.com", until))
	silent := receiver(t, "127.0.0.1:0", nil)
	gone, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	own := hostiletest.NewCanary(t, "127.0.0.1:0").Addr
	for name, c := range map[string]struct {
		url  string
		pool *x509.CertPool
		want Reason
	}{
		"a sound one":               {"https://" + good.String() + "/path", ca.Pool, ""},
		"an authority nobody knows": {"https://" + good.String(), other.Pool, ReasonTLS},
		"expired":                   {"https://" + expired.String(), ca.Pool, ReasonTLS},
		"another's name":            {"https://" + misnamed.String(), ca.Pool, ReasonTLS},
		"no TLS there":              {"https://" + silent.String(), ca.Pool, ReasonTLS},
		"without TLS":               {"http://" + silent.String(), ca.Pool, ""},
		"nobody there":              {"https://" + gone.Addr().String(), ca.Pool, ReasonRefused},
		"this service itself":       {"https://" + own.String(), ca.Pool, ReasonBlocked},
	} {
		rules := Rules{AllowInsecure: true}
		client := mustClient(t, Options{Rules: rules, RootCAs: c.pool, Own: []netip.AddrPort{own}})
		h, err := client.Handshake(t.Context(), c.url, rules)
		if err != nil || h.Reason != c.want || (h.Detail == "") != (c.want == "") {
			t.Errorf("%s: %+v, %v; want reason %q", name, h, err, c.want)
		}
		if name == "a sound one" && (!h.Expires.Equal(until) || h.TLS != "TLS 1.3" || h.Protocol != "h2" || h.Address != good.String() || h.Phases.TLS == 0) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestHandshakeRefusesWhatAnEndpointMayNotBe(t *testing.T) {
	client := mustClient(t, Options{})
	for _, u := range []string{"http://example.com/", "https://127.0.0.1/", "ftp://example.com/", "https://example.com:22/"} {
		if _, err := client.Handshake(t.Context(), u, Rules{}); !errors.As(err, new(*URLError)) {
			t.Errorf("%s: %v, want it refused as a URL", u, err)
		}
	}
}

func TestAHandshakeHasFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := piped(t, "https://receiver.example/", hostiletest.Hangs)
		began := time.Now()
		h, err := client.Handshake(t.Context(), "https://receiver.example/", Rules{})
		if took := time.Since(began); err != nil || h.Reason != ReasonTimeout || took != 5*time.Second {
			t.Errorf("after %s: %+v, %v", took, h, err)
		}
	})
}
