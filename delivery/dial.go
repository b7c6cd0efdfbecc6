package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"

	"github.com/popsee/webhooks/delivery/panics"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// errNowhere is a second look at what [Rules.CheckURL] has seen to.
var errNowhere = errors.New("the URL names no host, or no protocol that webhooks are sent by")

// dialTCP connects for an attempt, whose trace ctx carries. What it gives stands on a [limited].
func (c *Client) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			DNSStart:     t.onDNSStart,
			DNSDone:      t.onDNSDone,
			ConnectStart: t.onConnectStart,
			ConnectDone:  t.onConnectDone,
		})
	}
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := newLimited(conn)
	l.out.panics = c.panics
	return l, nil
}

// surviving makes a panic while dialling the dial's error. net/http dials in goroutines of its own, where nobody above
// would catch it, and a dial that fails is one that is made again.
func surviving(guard *panics.Guard, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		defer guard.Catch(panics.PlaceDial, func(p *panics.Panic) { err = p })
		return dial(ctx, network, address)
	}
}

// dialRoute connects, and over TLS agrees on a protocol.
func (c *Client) dialRoute(ctx context.Context, r route) (net.Conn, error) {
	if r == (route{}) {
		return nil, errNowhere
	}
	conn, err := c.dialTCP(ctx, "tcp", r.address)
	if err != nil || !r.secure {
		return conn, err
	}
	cfg := c.tls.Clone()
	cfg.ServerName = r.name()
	secure := tls.Client(conn, cfg)
	t, traced := ctx.Value(traceKey{}).(*trace)
	if traced {
		t.onTLSStart()
	}
	err = secure.HandshakeContext(ctx)
	if traced {
		t.onTLSDone(tls.ConnectionState{}, err)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// speakingHTTP2 gives a connection on which HTTP/2 was agreed upon, or nil.
func speakingHTTP2(c net.Conn) *tls.Conn {
	if secure, ok := c.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
		return secure
	}
	return nil
}

// dialForTransport gives net/http the connection on which an attempt has just found HTTP/2, or a new one. Where the host
// speaks HTTP/2 no longer, the connection is kept for whoever goes the other way.
func (c *Client) dialForTransport(ctx context.Context, _, address string) (net.Conn, error) {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		if found := t.found.Swap(nil); found != nil {
			return found, nil
		}
	}
	r, change := route{secure: true, address: address}, c.pool.change.Load()
	conn, err := c.dialRoute(ctx, r)
	if err != nil || speakingHTTP2(conn) != nil {
		return conn, err
	}
	kept := newConnection(conn, r)
	kept.change = change
	c.pool.put(kept)
	return nil, errSpeaksHTTP1
}
