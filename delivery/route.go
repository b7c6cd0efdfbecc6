package delivery

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// route is what two requests must have in common to share a connection.
type route struct {
	secure  bool
	address string // host:port
}

// routeOf gives the zero route, which leads nowhere, for a URL that no request can be sent to.
func routeOf(u *url.URL) route {
	host, ok := resolvable(u.Hostname())
	switch {
	case !ok || u.Opaque != "":
		return route{}
	case u.Scheme == "https":
		return route{secure: true, address: net.JoinHostPort(host, cmp.Or(u.Port(), "443"))}
	case u.Scheme == "http":
		return route{address: net.JoinHostPort(host, cmp.Or(u.Port(), "80"))}
	}
	return route{}
}

// resolvable gives the form in which a host is dialled and counted, however a URL writes it.
func resolvable(host string) (string, bool) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, true
	}
	return asciiName(strings.TrimSuffix(host, "."))
}

// name is what a certificate must be for.
func (r route) name() string {
	name, _, _ := net.SplitHostPort(r.address)
	return name
}
