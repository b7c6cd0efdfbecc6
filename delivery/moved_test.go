package delivery

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// A name that was good moves to a bad address while a connection to the good one is kept: that one goes on, and the
// next is judged anew.
func TestAKeptConnectionIsNotMovedByDNS(t *testing.T) {
	for name, v := range map[string]struct{ tls, http2 bool }{"HTTP/1.1": {}, "HTTP/1.1 over TLS": {tls: true}, "HTTP/2": {true, true}} {
		t.Run(name, func(t *testing.T) {
			trap := hostiletest.NewCanary(t, "127.0.0.1:0")
			ca := hostiletest.NewAuthority(t)
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.2:%d", trap.Addr.Port()))
			if err != nil {
				t.Fatal(err)
			}
			server := &httptest.Server{Listener: l, EnableHTTP2: v.http2, Config: &http.Server{
				ErrorLog: quiet(), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			}}
			scheme := "http"
			if v.tls {
				scheme, server.TLS = "https", &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "hooks.example.com", hostiletest.LongLeft)}}
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			var moved atomic.Bool
			client := mustClient(t, Options{
				RootCAs: ca.Pool, Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}},
				Resolver: resolver(t, func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
					if moved.Load() {
						return addresses(k, "127.0.0.1")
					}
					return addresses(k, "127.0.0.2")
				}),
			})
			target := mustTarget(t, TargetSpec{URL: fmt.Sprintf("%s://hooks.example.com:%d/", scheme, trap.Addr.Port())})
			wantEnd(t, send(t, client, target), Delivered, Reason2xx)
			moved.Store(true)
			kept := send(t, client, target)
			wantEnd(t, kept, Delivered, Reason2xx)
			if !kept.Phases.Reused {
				t.Error("the connection was not kept: this test shows nothing")
			}
			a := send(t, client, target)
			for range 1000 { // a connection is idle a moment after its attempt has ended
				if a.Verdict != Delivered {
					break
				}
				if !a.Phases.Reused {
					t.Fatal("a new connection was made to where the name no longer leads")
				}
				client.hangUp()
				a = send(t, client, target)
			}
			wantEnd(t, a, Again, ReasonBlocked)
			wantEnd(t, send(t, client, target), Again, ReasonBlocked)
			trap.Untouched(t)
			wantTouched(t, trap, resolver(t, toAddress("127.0.0.1")))
		})
	}
}

// Another address that an answer offers for later requests is not taken.
func TestAnAlternativeServiceIsNotUsed(t *testing.T) {
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	client, target := secure(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Alt-Svc", fmt.Sprintf(`h2="127.0.0.1:%d"; ma=3600`, trap.Addr.Port()))
		w.Header().Set("Connection", "close")
	}, nil)
	for range 3 {
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
	}
	trap.Untouched(t)
	// The guard lets this client go there: it went nowhere because nobody told it to.
	send(t, client, mustTargetUnder(t, TargetSpec{URL: "https://" + trap.Addr.String()}, Rules{Allow: loopback}))
	trap.Touched(t)
}

// What became our own listener while the process ran is kept from webhooks too, also where a connection to it is kept.
func TestOwnListenersMayMove(t *testing.T) {
	addr := receiver(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {})
	client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + addr.String()})
	wantEnd(t, send(t, client, target), Delivered, Reason2xx)
	client.SetOwn([]netip.AddrPort{addr})
	wantEnd(t, send(t, client, target), Again, ReasonBlocked)
	client.SetOwn(nil)
	wantEnd(t, send(t, client, target), Delivered, Reason2xx)
}
