package delivery

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// nowhere lists, by what they are, the addresses no webhook goes to, and what the guard finds them to be.
var nowhere = map[string]struct {
	address string
	finding finding
}{
	"loopback": {"127.0.0.1", findPrivate}, "another loopback": {"127.9.9.9", findPrivate}, "IPv6 loopback": {"::1", findPrivate},
	"mapped loopback": {"::ffff:127.0.0.1", findPrivate}, "IPv4-compatible loopback": {"::127.0.0.1", findPrivate},
	"NAT64 loopback": {"64:ff9b::7f00:1", findPrivate}, "local NAT64 loopback": {"64:ff9b:1::7f00:1", findPrivate},
	"6to4 loopback": {"2002:7f00:1::", findPrivate}, "Teredo": {"2001:0:7f00:1::80ff:fffe", findPrivate},
	"link-local": {"fe80::1", findLinkLocal}, "unique local": {"fc00::1", findPrivate}, "multicast, IPv6": {"ff02::1", findMulticast},
	"AWS metadata, IPv6": {"fd00:ec2::254", findMetadata}, "GCP metadata, IPv6": {"fd20:ce::254", findMetadata},
	"discard only": {"100::1", findPrivate}, "10/8": {"10.0.0.1", findPrivate}, "172.16/12": {"172.16.0.1", findPrivate},
	"192.168/16": {"192.168.0.1", findPrivate}, "100.64/10": {"100.64.0.1", findPrivate}, "Alibaba metadata": {"100.100.100.200", findMetadata},
	"metadata": {"169.254.169.254", findMetadata}, "AWS container metadata": {"169.254.170.2", findMetadata}, "Oracle metadata": {"192.0.0.192", findMetadata},
	"Azure's wire server": {"168.63.129.16", findMetadata}, "benchmarking": {"198.18.0.1", findPrivate}, "multicast": {"224.0.0.1", findMulticast},
	"reserved": {"240.0.0.1", findPrivate}, "broadcast": {"255.255.255.255", findMulticast}, "unspecified": {"0.0.0.0", findUnspecified},
	"unspecified, IPv6": {"::", findUnspecified},
}

// leads has every connection of a client end at a canary, whatever address it is made to, but for those that the
// client's own guard refuses: as if each address there is had somebody listening. With the guard open nothing is
// refused, which shows that the canary would have seen the rest.
func leads(t testing.TB, client *Client, trap *hostiletest.Canary, guarded bool) *Client {
	t.Helper()
	guard := client.dialer.Control
	client.dialer.Control = func(network, address string, c syscall.RawConn) error {
		if guarded {
			if err := guard(network, address, c); err != nil {
				return err
			}
		}
		return connect(c, strings.HasSuffix(network, "6"), trap.Addr)
	}
	return client
}

// connect connects a socket before its dialer does, which then finds it connected and takes it as it is.
func connect(c syscall.RawConn, ipv6 bool, to netip.AddrPort) error {
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	if ipv6 {
		at = &syscall.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	}
	var refused error
	err := c.Control(func(fd uintptr) {
		if refused = syscall.Connect(int(fd), at); refused == syscall.EINPROGRESS {
			refused = nil
		}
	})
	if err != nil {
		return err
	}
	return refused
}

// wantBlocked checks that an attempt ended at the guard, and for what reason.
func wantBlocked(t *testing.T, a Attempt, f finding) {
	t.Helper()
	wantEnd(t, a, Again, ReasonBlocked)
	if want := "dial: " + (&BlockedError{f}).Error(); a.Detail != want {
		t.Errorf("detail: got %q, want %q", a.Detail, want)
	}
}

// toAddress is a resolver for which every name is at one address.
func toAddress(text string) func(string, dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
	return func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
		return addresses(k, text)
	}
}

func TestANameThatLeadsNowhereIsRefusedAtTheDial(t *testing.T) {
	for name, v := range nowhere {
		t.Run(name, func(t *testing.T) {
			trap := hostiletest.NewCanary(t, "127.0.0.1:0")
			target := mustTargetUnder(t, TargetSpec{URL: "https://hooks.example.com/"}, Rules{})
			o := Options{Resolver: resolver(t, toAddress(v.address))}
			wantBlocked(t, send(t, leads(t, mustClient(t, o), trap, true), target), v.finding)
			trap.Untouched(t)
			send(t, leads(t, mustClient(t, o), trap, false), target)
			trap.Touched(t)
		})
	}
}

// Spellings of this machine's address that a resolver may understand though we refuse them. Here nothing has checked
// the URL, and every name there is leads to loopback.
func TestNothingReachesACanary(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "0.0.0.0", "0x7f000001", "0x7f.1", "localhost", "localhost.", "foo.localhost", "[::]", "[::1]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "metadata.google.internal", "public.example.com",
	} {
		for _, scheme := range []string{"https", "http"} {
			t.Run(scheme+" "+host, func(t *testing.T) {
				wantGuardAlone(t, unchecked(t, scheme+"://"+host+":8443/"), resolver(t, toAddress("127.0.0.1")))
			})
		}
	}
}

// spelled lists what C libraries read as 127.0.0.1 or 0.0.0.0, and Go's resolver as nothing.
var spelled = []string{"127.1", "0", "2130706433", "0177.0.0.1"}

// The system's own resolver takes more for an address than Go's does, and the guard sees what it made of it. Go asks it
// when it is told to, or when the system's configuration wants it.
func TestNothingReachesACanaryByTheSystemsResolverEither(t *testing.T) {
	if !alone(t, "GODEBUG=netdns=cgo") {
		return
	}
	for _, host := range append([]string{"0x7f000001", "0x7f.1", "localhost"}, spelled...) {
		if systemReads {
			wantGuardAlone(t, unchecked(t, "https://"+host+":8443/"), &net.Resolver{})
		} else if host != "localhost" {
			wantUndialled(t, unchecked(t, "https://"+host+":8443/"), &net.Resolver{})
		}
	}
}

// unchecked is a target that came past the rules. A URL that Go cannot read is as good as none.
func unchecked(t *testing.T, raw string) *Target {
	t.Helper()
	target := mustTarget(t, TargetSpec{URL: "https://example.com"})
	u, err := url.Parse(raw)
	if err != nil {
		u = &url.URL{}
	}
	target.lead(u)
	return target
}

// wantGuardAlone checks that the guard, and nothing else, keeps a target nobody has checked from where it leads.
func wantGuardAlone(t *testing.T, unchecked *Target, dns *net.Resolver) {
	t.Helper()
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	a := send(t, leads(t, mustClient(t, Options{Resolver: dns}), trap, true), unchecked)
	trap.Untouched(t)
	send(t, leads(t, mustClient(t, Options{Resolver: dns}), trap, false), unchecked)
	trap.Touched(t)
	if wantEnd(t, a, Again, ReasonBlocked); t.Failed() {
		t.Errorf("this was %s", unchecked.url)
	}
}

// wantUndialled checks that a target leads nowhere even with the guard open.
func wantUndialled(t *testing.T, unchecked *Target, dns *net.Resolver) {
	t.Helper()
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	a := send(t, leads(t, mustClient(t, Options{Resolver: dns}), trap, false), unchecked)
	if a.Verdict == Delivered || a.Phases.Connect != 0 {
		t.Errorf("%s: got %+v, want nothing dialled", unchecked.url, a)
	}
	trap.Untouched(t)
}

// undialled lists the refused URLs that nothing dials, even with the guard open: Go cannot read them, or they name no
// protocol, host, name or port as the rules leave it.
var undialled = []string{
	"nothing", "no scheme", "scheme-relative", "file", "gopher", "ftp", "unix", "data", "javascript", "opaque", "no host",
	"a backslash host", "CR LF", "CR LF in the host", "a tab", "a leading blank", "NUL", "port 65536", "port -1", "a port that is text",
	"0", "127.1", "an address as one number", "an address in octal", "five numbers", "an empty label", "dots alone",
	"a percent-encoded host", "a label of 64", "a host of 254", "a broken bracket", "a host with a comma",
	"a port without host",
}

// What the rules refuse the guard refuses too, if ever a URL came past them, with every name leading to loopback; and
// what it does not see is not dialled at all.
func TestRefusedURLsReachNothingEither(t *testing.T) {
	seen := 0
	for _, list := range []map[string]string{refusedAlways, refusedByDefault, refusedWithoutAllow} {
		for name, raw := range list {
			t.Run(name, func(t *testing.T) {
				dns := resolver(t, toAddress("127.0.0.1"))
				if !slices.Contains(undialled, name) {
					wantGuardAlone(t, unchecked(t, raw), dns)
					return
				}
				seen++
				wantUndialled(t, unchecked(t, raw), dns)
			})
		}
	}
	if seen != len(undialled) {
		t.Errorf("%d URLs are not dialled, want the %d that are listed", seen, len(undialled))
	}
}

// A redirect to any of these addresses leads nowhere, for it is not followed: the guard is open here, and every address
// leads to the canary.
func TestARedirectToWhereNothingMayGoIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, v := range nowhere {
			trap := hostiletest.NewCanary(t, "127.0.0.1:0")
			location := (&url.URL{Scheme: "http", Host: netip.AddrPortFrom(netip.MustParseAddr(v.address), 80).String(), Path: "/"}).String()
			at := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + at.String()})
			direct := client.dialer.Control
			leads(t, client, trap, false)
			led := client.dialer.Control
			client.dialer.Control = func(network, address string, c syscall.RawConn) error {
				if address == at.String() {
					return direct(network, address, c)
				}
				return led(network, address, c)
			}
			wantEnd(t, send(t, client, target), Again, Reason3xx)
			trap.Untouched(t)
			follow(t, client, "http://"+at.String())
			trap.Touched(t)
			if t.Failed() {
				t.Fatalf("redirect %d to %s", status, name)
			}
		}
	}
}

// follow asks for a URL as a client does that follows redirects, over the same transport.
func follow(t *testing.T, client *Client, from string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, from, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if response, err := (&http.Client{Transport: client.transport}).Do(r); err == nil {
		response.Body.Close()
	}
}
