package delivery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"code.dny.dev/ssrf"
)

// finding is what the guard thinks of one address.
type finding uint8

const (
	findPublic      finding = iota + 1 // reachable by anyone
	findAllowed                        // private, and on the allow list
	findLoopback                       // this machine, where insecure endpoints are allowed
	findOwn                            // one of our own listeners
	findMetadata                       // hands out a cloud's credentials
	findLinkLocal                      // the wire this machine is on, where metadata services live too
	findUnspecified                    // 0.0.0.0 and ::, which many systems dial as themselves
	findMulticast                      // never one receiver
	findPrivate                        // private or special
	findPort                           // a port webhooks are not sent to
	findUnreadable                     // not an address
)

func (f finding) refused() bool { return f > findLoopback || f == 0 }

func (f finding) String() string {
	switch f {
	case findPublic:
		return "public"
	case findAllowed:
		return "allowed"
	case findLoopback:
		return "loopback"
	case findOwn:
		return "this service itself"
	case findMetadata:
		return "a metadata service"
	case findLinkLocal:
		return "link-local"
	case findUnspecified:
		return "unspecified"
	case findMulticast:
		return "multicast"
	case findPrivate:
		return "private or reserved"
	case findPort:
		return "a port webhooks are not sent to"
	case findUnreadable:
		return "not an address"
	default:
		return "unknown"
	}
}

// BlockedError says that the guard refused the address a connection was about to be made to. It does not say which one
// that was: its text reaches survey owners, who have no business with how names resolve inside our network.
type BlockedError struct{ finding finding }

func (e *BlockedError) Error() string { return "address blocked: " + e.finding.String() }

// guard judges addresses just before they are dialled, when no answer of a resolver can change them any more.
type guard struct {
	rules  Rules
	own    atomic.Pointer[[]netip.AddrPort] // replaced whole, when our NATS moves
	public *ssrf.Guardian
}

func newGuard(r Rules, own []netip.AddrPort) *guard {
	g := &guard{rules: r, public: ssrf.New(ssrf.WithAnyNetwork(), ssrf.WithAnyPort())}
	g.own.Store(&own)
	return g
}

// control is a net.Dialer's Control.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || (network != "tcp4" && network != "tcp6") {
		return &BlockedError{findUnreadable}
	}
	if f := g.judge(ap); f.refused() {
		return &BlockedError{f}
	}
	return nil
}

// judge is the one decision about an address and its port.
func (g *guard) judge(ap netip.AddrPort) finding {
	switch {
	case g.isOwn(plain(ap.Addr()), ap.Port()):
		return findOwn
	case !portAllowed(ap.Port(), g.rules.AllowInsecure):
		return findPort
	}
	return g.address(ap.Addr())
}

// address is the decision about the address alone. The order is the meaning: what no setting lifts, then what a
// setting lifts, then the rest of the special-purpose ranges.
func (g *guard) address(addr netip.Addr) finding {
	addr = plain(addr)
	if f := never(addr); f != 0 {
		return f
	}
	if inner, ok := carried(addr); ok {
		// Whoever routes it sends it on to the inner address, so that one must be fit as well.
		if f := g.address(inner); f.refused() {
			return f
		}
	}
	switch {
	case containedIn(g.rules.Allow, addr):
		return findAllowed
	case addr.IsLoopback() && g.rules.AllowInsecure:
		return findLoopback
	case g.public.SafeAddr(addr) != nil:
		return findPrivate
	}
	return findPublic
}

// plain removes what would let one address pass for another: a zone, and the IPv6 spelling of an IPv4 address.
func plain(addr netip.Addr) netip.Addr { return addr.WithZone("").Unmap() }

// never finds the addresses no setting allows.
func never(addr netip.Addr) finding {
	switch {
	case !addr.IsValid():
		return findUnreadable
	case addr.IsUnspecified() || containedIn(thisNetwork, addr):
		return findUnspecified
	case containedIn(metadata, addr):
		return findMetadata
	case addr.IsLinkLocalUnicast():
		return findLinkLocal
	case addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return findMulticast
	}
	return 0
}

var thisNetwork = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8")}

// metadata lists the services that hand a cloud machine its credentials. Those of AWS, Azure, GCP and most others at
// 169.254.169.254 are named for the reason given; the whole of 169.254.0.0/16 is link-local and refused in any case.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.169.254/32"), // AWS, Azure, GCP and others
	netip.MustParsePrefix("169.254.170.2/32"),   // AWS containers
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS, IPv6
	netip.MustParsePrefix("fd20:ce::254/128"),   // GCP, IPv6
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's wire server: a public address that is not one
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle
}

// isOwn finds our own listeners, also behind a gateway that sends on to the address carried inside another.
func (g *guard) isOwn(addr netip.Addr, port uint16) bool {
	inner, ok := carried(addr)
	return g.listensAt(addr, port) || ok && g.listensAt(inner, port)
}

// listensAt finds our own listeners. One on the unspecified address listens on every address of this machine.
func (g *guard) listensAt(addr netip.Addr, port uint16) bool {
	return slices.ContainsFunc(*g.own.Load(), func(own netip.AddrPort) bool {
		at := plain(own.Addr())
		switch {
		case own.Port() != port:
			return false
		case at.IsUnspecified():
			return addr.IsLoopback() || addr.IsUnspecified() || ofThisMachine(addr)
		default:
			return at == addr
		}
	})
}

// ofThisMachine asks the system each time, as its addresses may change; it is asked only for a port that is ours.
func ofThisMachine(addr netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		at, ok := netip.AddrFromSlice(n.IP)
		return ok && plain(at) == addr
	})
}

func containedIn(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// checkAllow refuses an allow list that is written for addresses the guard never sees.
func checkAllow(prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("allow prefix %s: want an IPv4 or IPv6 network such as 10.0.0.0/8", p)
		}
	}
	return nil
}
