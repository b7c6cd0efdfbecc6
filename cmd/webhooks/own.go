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
	fixed []string            // addresses this process listens on
	known map[string][]string // name -> what it resolved to; kept while it does not
}

// listens notes an address, or a URL, that this process listens on.
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

// natsPort is what a NATS URL without a port means.
const natsPort = "4222"

func (o *ownListeners) resolve(ctx context.Context, server string) []string {
	if server == "" {
		return nil // not connected now
	}
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		server = u.Host
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), natsPort
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(host, port)}
	}
	ctx, cancel := context.WithTimeout(ctx, ownTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return o.known[server]
	}
	for i := range addrs {
		addrs[i] = net.JoinHostPort(addrs[i], port)
	}
	if o.known == nil {
		o.known = map[string][]string{}
	}
	o.known[server] = addrs
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
