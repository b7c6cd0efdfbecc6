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

// A stranger's URL that leads to our own NATS, its monitoring or our admin listener
// reaches none of them, however it is written and although everything there is on
// the allow list.
func TestNoSettingOpensOurOwnListeners(t *testing.T) {
	bus := externalNATS(t, &server.Options{HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT})
	s := testSettings(t.TempDir())
	s.NATS.URL, s.NATS.Monitor = bus.ClientURL(), "http://127.0.0.1:8222, http://"+bus.MonitorAddr().String()
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
	admin := v.own.fixed[len(v.own.fixed)-1]
	before := varz(t, bus)
	for name, own := range map[string]string{"NATS": strings.TrimPrefix(bus.ClientURL(), "nats://"), "NATS' monitoring": bus.MonitorAddr().String(), "the admin listener": admin} {
		_, port, err := net.SplitHostPort(own)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "127.0.0.1."} {
			a := sendTo(t, v.client, v, "http://"+host+":"+port+"/varz")
			nobody := host == "localhost" && a.Reason == delivery.ReasonRefused // it may mean ::1 as well, where nobody listens
			if a.Reason != delivery.ReasonBlocked && !nobody {
				t.Errorf("%s at %s:%s: %s %s %q", name, host, port, a.Verdict, a.Reason, a.Detail)
			}
		}
	}
	after := varz(t, bus)
	if after.TotalConnections != before.TotalConnections || after.HTTPReqStats["/varz"] != before.HTTPReqStats["/varz"] {
		t.Errorf("NATS saw %d connections and its monitoring %v, want the %d and %v of before", after.TotalConnections, after.HTTPReqStats, before.TotalConnections, before.HTTPReqStats)
	}
	// Nothing else stood in their way: a client that does not know them as its own reaches each.
	stranger, err := delivery.NewClient(delivery.Options{Rules: v.settings.Delivery.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	for _, own := range []string{strings.TrimPrefix(bus.ClientURL(), "nats://"), bus.MonitorAddr().String(), admin} {
		if a := sendTo(t, stranger, v, "http://"+own+"/varz"); a.Reason == delivery.ReasonBlocked || a.Reason == delivery.ReasonRefused {
			t.Errorf("%s: %s %s, want it reached where nobody says that it is ours", own, a.Verdict, a.Reason)
		}
	}
	if reached := varz(t, bus); reached.TotalConnections == after.TotalConnections || reached.HTTPReqStats["/varz"] == after.HTTPReqStats["/varz"] {
		t.Errorf("NATS counts no connection, or its monitoring no request: this test shows nothing")
	}
}

// sendTo makes one attempt by a service's rules.
func sendTo(t *testing.T, c *delivery.Client, v *service, url string) delivery.Attempt {
	t.Helper()
	target, err := delivery.NewTarget(delivery.TargetSpec{Survey: "s1", URL: url}, v.settings.Delivery.Rules())
	if err != nil {
		t.Fatal(err)
	}
	return c.Send(t.Context(), target, events.Event{ID: "r1", Kind: events.KindCompleted, Survey: "s1", Body: []byte("{}")}, delivery.Meta{})
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
		"tls://[fd00::1]:4333": "[fd00::1]:4333", "wss://10.0.0.9:443": "10.0.0.9:443",
		"http://10.0.0.2:18222/": "10.0.0.2:18222", "http://10.0.0.2": "10.0.0.2:80", "https://10.0.0.2/": "10.0.0.2:443", "[::]:9090": "[::]:9090", "": "",
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
