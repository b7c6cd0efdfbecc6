package main

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// A stranger's URL that leads to our own NATS or admin listener reaches neither,
// however it is written and although everything there is on the allow list.
func TestNoSettingOpensOurOwnListeners(t *testing.T) {
	bus := externalNATS(t, &server.Options{})
	s := testSettings(t.TempDir())
	s.NATS.URL = bus.ClientURL()
	s.Keys.Ring = newRing(t)
	s.Admin.Listen = "127.0.0.1:0"
	s.Delivery.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8")}
	v, err := openService(t.Context(), s, noEnv, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.close(); err != nil {
			t.Error(err)
		}
	})
	admin := v.own.fixed[0]
	before := varz(t, bus).TotalConnections
	for _, own := range []string{strings.TrimPrefix(bus.ClientURL(), "nats://"), admin} {
		_, port, err := net.SplitHostPort(own)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "127.0.0.1."} {
			target, err := delivery.NewTarget(delivery.TargetSpec{Survey: "s1", URL: "http://" + host + ":" + port + "/"}, s.Delivery.Rules())
			if err != nil {
				t.Errorf("%s: %v", host, err)
				continue
			}
			a := v.client.Send(t.Context(), target, events.Event{ID: "r1", Kind: events.KindCompleted, Survey: "s1", Body: []byte("{}")}, delivery.Meta{})
			nobody := host == "localhost" && a.Reason == delivery.ReasonRefused // it may mean ::1 as well, where nobody listens
			if a.Reason != delivery.ReasonBlocked && !nobody {
				t.Errorf("%s:%s: %s %s %q", host, port, a.Verdict, a.Reason, a.Detail)
			}
		}
	}
	if after := varz(t, bus).TotalConnections; after != before {
		t.Errorf("NATS saw %d connections, want the %d of before", after, before)
	}
}

// Servers of the NATS cluster that nobody named are learnt from it, and kept from
// webhooks as well.
func TestServersThatNATSTellsOfAreOurOwn(t *testing.T) {
	cluster := server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: server.RANDOM_PORT}
	first := externalNATS(t, &server.Options{ServerName: "first", Cluster: cluster})
	v := &ownListeners{nc: dial(t, first)}
	second := externalNATS(t, &server.Options{ServerName: "second", Cluster: cluster, Routes: server.RoutesFromStr("nats://" + first.ClusterAddr().String())})
	want := netip.MustParseAddrPort(second.Addr().String())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if own := v.look(t.Context()); slices.Contains(own, want) {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("got %v, want %s among them", own, want)
		}
	}
}

func TestOwnListenersAreReadHoweverTheyAreWritten(t *testing.T) {
	var o ownListeners
	for written, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", "nats://user:pass@10.0.0.1:14222": "10.0.0.1:14222", "nats://10.0.0.1": "10.0.0.1:4222",
		"tls://[fd00::1]:4333": "[fd00::1]:4333", "wss://10.0.0.9:443": "10.0.0.9:443", "[::]:9090": "[::]:9090", "": "",
	} {
		if got := strings.Join(o.resolve(t.Context(), written), " "); got != want {
			t.Errorf("%s: got %s, want %s", written, got, want)
		}
	}
	o.known = map[string][]string{"nats.invalid:14222": {"10.0.0.7:14222"}}
	if got := o.resolve(t.Context(), "nats://nats.invalid:14222"); len(got) != 1 || got[0] != "10.0.0.7:14222" {
		t.Errorf("a name that does not resolve now: got %v, want what it was", got)
	}
}

func newRing(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/ring.json"
	if _, _, err := config.LoadOrCreateKeyring(path); err != nil {
		t.Fatal(err)
	}
	return path
}
