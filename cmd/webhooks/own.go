package main

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/delivery"
)

// How often our own listeners are looked for, and how long one name may take.
const (
	ownEvery = 30 * time.Second
	ownTime  = 2 * time.Second
)

// ownListeners are where this process and its NATS can be reached. No webhook
// goes there, whatever is allowed: a stranger's URL must not speak to them from
// inside.
type ownListeners struct {
	nc    *nats.Conn          // to a NATS elsewhere; nil with the embedded one, which is in fixed
	fixed []string            // addresses this process listens on, and where NATS is monitored
	known map[string][]string // name -> what it resolved to; kept while it does not
}

// listens notes an address, or a URL, that this process listens on or its NATS is
// monitored at.
func (o *ownListeners) listens(address string) {
	if address != "" {
		o.fixed = append(o.fixed, address)
	}
}

// look gives every address that is known now: our listeners, the servers of NATS
// that were named to us or that it has told us of, each with all that its name
// resolves to, and the one we are connected to.
func (o *ownListeners) look(ctx context.Context) []netip.AddrPort {
	servers := slices.Clone(o.fixed)
	if o.nc != nil {
		servers = append(append(servers, o.nc.Servers()...), o.nc.ConnectedAddr())
	}
	var own []netip.AddrPort
	for _, server := range servers {
		for _, at := range o.resolve(ctx, server) {
			if a, err := netip.ParseAddrPort(at); err == nil && !slices.Contains(own, a) {
				own = append(own, a)
			}
		}
	}
	slices.SortFunc(own, netip.AddrPort.Compare)
	return own
}

// defaultPort is what a URL without a port means.
func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	default:
		return "4222" // NATS
	}
}

// hostPort reads an address or a URL, however it is written.
func hostPort(server string) (host, port string) {
	scheme := ""
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		scheme, server = u.Scheme, u.Host
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return strings.Trim(server, "[]"), defaultPort(scheme)
	}
	return host, port
}

func (o *ownListeners) resolve(ctx context.Context, server string) []string {
	if server == "" {
		return nil // not connected now
	}
	host, port := hostPort(server)
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(host, port)}
	}
	name := net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, ownTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return o.known[name]
	}
	for i := range addrs {
		addrs[i] = net.JoinHostPort(addrs[i], port)
	}
	if o.known == nil {
		o.known = map[string][]string{}
	}
	o.known[name] = addrs
	return addrs
}

// follow keeps a client from our listeners as they move, until ctx ends.
func (o *ownListeners) follow(ctx context.Context, c *delivery.Client) {
	last := o.look(ctx)
	c.SetOwn(last)
	tick := time.NewTicker(ownEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := o.look(ctx); !slices.Equal(now, last) && ctx.Err() == nil {
			c.SetOwn(now)
			last = now
		}
	}
}
