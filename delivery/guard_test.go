package delivery

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestGuardFindsWhatAnAddressIs(t *testing.T) {
	for text, want := range map[string]finding{
		"8.8.8.8":                  findPublic,
		"93.184.215.14":            findPublic,
		"2606:4700::1111":          findPublic,
		"::ffff:8.8.8.8":           findPublic,
		"127.0.0.1":                findPrivate,
		"127.255.255.255":          findPrivate,
		"::1":                      findPrivate,
		"::ffff:127.0.0.1":         findPrivate,
		"::ffff:7f00:1":            findPrivate,
		"::127.0.0.1":              findPrivate,
		"64:ff9b::7f00:1":          findPrivate,
		"64:ff9b:1::7f00:1":        findPrivate,
		"64:ff9b::808:808":         findPrivate,
		"2002:7f00:1::":            findPrivate,
		"2001:0:808:808::80ff:fe":  findPrivate,
		"fc00::1":                  findPrivate,
		"fec0::1":                  findPrivate,
		"100::1":                   findPrivate,
		"2001:db8::1":              findPrivate,
		"10.0.0.1":                 findPrivate,
		"10.255.255.255":           findPrivate,
		"172.16.0.1":               findPrivate,
		"172.32.0.1":               findPublic,
		"192.168.0.1":              findPrivate,
		"100.64.0.1":               findPrivate,
		"100.127.255.255":          findPrivate,
		"192.0.0.1":                findPrivate,
		"198.18.0.1":               findPrivate,
		"203.0.113.1":              findPrivate,
		"240.0.0.1":                findPrivate,
		"fe80::1":                  findLinkLocal,
		"fe80::1%eth0":             findLinkLocal,
		"169.254.1.1":              findLinkLocal,
		"169.254.169.254":          findMetadata,
		"169.254.170.2":            findMetadata,
		"::ffff:169.254.169.254":   findMetadata,
		"::ffff:169.254.169.254%a": findMetadata,
		"64:ff9b::a9fe:a9fe":       findMetadata,
		"2002:a9fe:a9fe::":         findMetadata,
		"fd00:ec2::254":            findMetadata,
		"fd20:ce::254":             findMetadata,
		"168.63.129.16":            findMetadata,
		"100.100.100.200":          findMetadata,
		"192.0.0.192":              findMetadata,
		"0.0.0.0":                  findUnspecified,
		"0.1.2.3":                  findUnspecified,
		"::":                       findUnspecified,
		"::ffff:0.0.0.0":           findUnspecified,
		"224.0.0.1":                findMulticast,
		"239.255.255.255":          findMulticast,
		"ff02::1":                  findMulticast,
		"255.255.255.255":          findMulticast,
	} {
		if got := newGuard(Rules{}, nil).address(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if got := newGuard(Rules{}, nil).address(netip.Addr{}); !got.refused() {
		t.Errorf("no address at all: got %s, want a refusal", got)
	}
	if !finding(0).refused() {
		t.Error("an address nobody judged is not refused")
	}
}

func TestGuardOpensOnlyWhatASettingNames(t *testing.T) {
	insecure := Rules{AllowInsecure: true}
	allow := func(prefixes ...string) (r Rules) {
		for _, p := range prefixes {
			r.Allow = append(r.Allow, netip.MustParsePrefix(p))
		}
		return r
	}
	for _, v := range []struct {
		name  string
		rules Rules
		addr  string
		want  finding
	}{
		{"development opens loopback", insecure, "127.0.0.1", findLoopback},
		{"development opens loopback, IPv6", insecure, "::1", findLoopback},
		{"development opens loopback, mapped", insecure, "::ffff:127.0.0.1", findLoopback},
		{"development opens no other spelling", insecure, "64:ff9b::7f00:1", findPrivate},
		{"development opens nothing private", insecure, "10.0.0.1", findPrivate},
		{"development opens no metadata", insecure, "169.254.169.254", findMetadata},
		{"a prefix opens itself", allow("10.0.0.0/8"), "10.9.9.9", findAllowed},
		{"a prefix opens the mapped form", allow("10.0.0.0/8"), "::ffff:10.9.9.9", findAllowed},
		{"a prefix opens nothing beside it", allow("10.0.0.0/16"), "10.1.0.1", findPrivate},
		{"loopback can be allowed by prefix", allow("127.0.0.0/8"), "127.0.0.1", findAllowed},
		{"NAT64 opens public addresses", allow("64:ff9b::/96"), "64:ff9b::808:808", findAllowed},
		{"NAT64 opens no private ones", allow("64:ff9b::/96"), "64:ff9b::a00:1", findPrivate},
		{"NAT64 and 10/8 open 10/8 behind it", allow("64:ff9b::/96", "10.0.0.0/8"), "64:ff9b::a00:1", findAllowed},
		{"everything opens no metadata", allow("0.0.0.0/0", "::/0"), "100.100.100.200", findMetadata},
		{"everything opens no metadata, IPv6", allow("0.0.0.0/0", "::/0"), "fd00:ec2::254", findMetadata},
		{"everything opens no metadata in NAT64", allow("0.0.0.0/0", "::/0"), "64:ff9b::a9fe:a9fe", findMetadata},
		{"everything opens no metadata in Teredo", allow("0.0.0.0/0", "::/0"), "2001::5601:5601", findMetadata},
		{"everything opens no metadata in ISATAP", allow("0.0.0.0/0", "::/0"), "fc00::5efe:a9fe:a9fe", findMetadata},
		{"everything opens nothing link-local", allow("0.0.0.0/0", "::/0"), "fe80::1", findLinkLocal},
		{"everything opens nothing unspecified", allow("0.0.0.0/0", "::/0"), "0.0.0.0", findUnspecified},
	} {
		if got := newGuard(v.rules, nil).address(netip.MustParseAddr(v.addr)); got != v.want {
			t.Errorf("%s: %s: got %s, want %s", v.name, v.addr, got, v.want)
		}
	}
}

func TestGuardKeepsOurOwnListeners(t *testing.T) {
	open := Rules{AllowInsecure: true, Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	one := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}
	ten := []netip.AddrPort{netip.MustParseAddrPort("10.1.2.3:8080")}
	all := []netip.AddrPort{netip.MustParseAddrPort("[::]:8080")}
	here := machineAddr(t).String()
	for _, v := range []struct {
		name, dialled string
		own           []netip.AddrPort
		want          finding
	}{
		{"the listener", "127.0.0.1:8080", one, findOwn},
		{"the listener, mapped", "[::ffff:127.0.0.1]:8080", one, findOwn},
		{"the listener, in NAT64", "[64:ff9b::a01:203]:8080", ten, findOwn},
		{"the listener, in NAT64 of one network", "[64:ff9b:1::a01:203]:8080", ten, findOwn},
		{"the listener, in 6to4", "[2002:a01:203::1]:8080", ten, findOwn},
		{"the listener, in Teredo", "[2001::f5fe:fdfc]:8080", ten, findOwn},
		{"the listener, in ISATAP", "[fc00::5efe:a01:203]:8080", ten, findOwn},
		{"the listener, IPv4-compatible", "[::10.1.2.3]:8080", ten, findOwn},
		{"the listener, in NAT64 with a zone", "[64:ff9b::a01:203%eth0]:8080", ten, findOwn},
		{"another port in NAT64", "[64:ff9b::a01:203]:8081", ten, findAllowed},
		{"another address in NAT64", "[64:ff9b::a01:204]:8080", ten, findAllowed},
		{"another port", "127.0.0.1:8081", one, findAllowed},
		{"another address", "127.0.0.2:8080", one, findAllowed},
		{"listening everywhere: loopback", "127.0.0.2:8080", all, findOwn},
		{"listening everywhere: IPv6 loopback", "[::1]:8080", all, findOwn},
		{"listening everywhere: unspecified", "0.0.0.0:8080", all, findOwn},
		{"listening everywhere: this machine", here + ":8080", all, findOwn},
		{"listening everywhere: loopback in NAT64", "[64:ff9b::7f00:1]:8080", all, findOwn},
		{"listening everywhere: this machine, IPv4-compatible", "[::" + here + "]:8080", all, findOwn},
		{"listening everywhere: another machine in NAT64", "[64:ff9b::808:808]:8080", all, findAllowed},
		{"listening everywhere: another port", here + ":8081", all, findAllowed},
		{"listening everywhere: another machine", "8.8.8.8:8080", all, findAllowed},
		{"a port of another protocol", "8.8.8.8:4222", nil, findPort},
		{"a port below 1024", "8.8.8.8:25", nil, findPort},
	} {
		if got := newGuard(open, v.own).judge(netip.MustParseAddrPort(v.dialled)); got != v.want {
			t.Errorf("%s: got %s, want %s", v.name, got, v.want)
		}
	}
}

// machineAddr gives an address of this machine, loopback where it has no other.
func machineAddr(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		n, err := netip.ParsePrefix(a.String())
		if err == nil && n.Addr().Is4() && !n.Addr().IsLoopback() {
			return n.Addr()
		}
	}
	return netip.MustParseAddr("127.0.0.1")
}

func TestGuardControlRefusesWhatIsNoTCPAddress(t *testing.T) {
	g := newGuard(Rules{AllowInsecure: true}, nil)
	for _, v := range [][2]string{{"udp4", "8.8.8.8:443"}, {"unix", "/run/docker.sock"}, {"tcp4", "example.com:443"}, {"tcp4", ""}} {
		var blocked *BlockedError
		if err := g.control(v[0], v[1], nil); !errors.As(err, &blocked) {
			t.Errorf("%s %s: got %v, want a BlockedError", v[0], v[1], err)
		}
	}
	if err := g.control("tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("a public address: got %v, want none", err)
	}
}

func TestOptionsReportEveryFault(t *testing.T) {
	err := Options{
		Timeout: -1, MaxIdle: -1, Own: []netip.AddrPort{{}},
		Rules: Rules{Allow: []netip.Prefix{{}, netip.MustParsePrefix("::ffff:10.0.0.0/104")}},
	}.Validate()
	joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	if !ok || len(joined.Unwrap()) != 4 {
		t.Errorf("got %v, want four faults at once", err)
	}
	if _, err := NewClient(Options{Version: "1\r\n"}); err == nil {
		t.Error("a version with a line break is accepted")
	}
}
