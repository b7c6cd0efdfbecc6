package delivery

import "net/netip"

// carried finds the IPv4 address inside an IPv6 one of a transition mechanism, where a gateway would send it on to.
func carried(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case containedIn(carriedLast, addr) && b != [16]byte{15: 1}: // ::1 lies in ::/96 and is loopback, not 0.0.0.1
		return netip.AddrFrom4([4]byte(b[12:])), true
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, 2002::/16
		return netip.AddrFrom4([4]byte(b[2:])), true
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo, 2001::/32: inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, in any network
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}

// carriedLast are the networks whose addresses end in an IPv4 address.
var carriedLast = []netip.Prefix{
	netip.MustParsePrefix("::/96"),          // IPv4-compatible, long deprecated
	netip.MustParsePrefix("64:ff9b::/96"),   // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64 inside one network
}
