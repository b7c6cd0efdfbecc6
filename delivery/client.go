package delivery

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Client makes attempts. It is safe for concurrent use, and one is enough for a process: it keeps the connections.
type Client struct {
	transport *http.Transport
	guard     *guard      // nobody asks it where Options.DialContext replaces dialling
	dialer    *net.Dialer // asks the guard; idle where Options.DialContext replaces it
	timeout   time.Duration
	windows   sync.Pool // of *[windowBytes]byte: the start of a body, while it is looked at

	// Header values that every request shares; a request's header is only read.
	contentType, userAgent, isTest []string
}

// NewClient builds a client. It opens nothing yet.
func NewClient(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("set up delivery: %w", err)
	}
	agent := "Popsee-Webhooks/" + o.version()
	if !httpguts.ValidHeaderFieldValue(agent) {
		return nil, fmt.Errorf("set up delivery: version %q cannot be sent in a header", o.Version)
	}
	g := newGuard(o.Rules, o.Own)
	d := &net.Dialer{Timeout: o.timeout(), Resolver: o.Resolver, Control: g.control}
	return &Client{
		transport:   newTransport(o, d),
		guard:       g,
		dialer:      d,
		timeout:     o.timeout(),
		windows:     sync.Pool{New: func() any { return new([windowBytes]byte) }},
		contentType: []string{contentType},
		userAgent:   []string{agent},
		isTest:      []string{"true"},
	}, nil
}

// Close releases the kept connections. Attempts still running end by themselves and keep none.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// SetOwn replaces the listeners that Options.Own names: those of NATS move while the process runs. Kept connections are
// dropped, for they were judged by the list of before.
func (c *Client) SetOwn(own []netip.AddrPort) {
	own = slices.Clone(own)
	c.guard.own.Store(&own)
	c.transport.CloseIdleConnections()
}

// newTransport is used by RoundTrip alone: no http.Client stands in between, so nothing follows a redirect, keeps a
// cookie or sets a second timer.
func newTransport(o Options, d *net.Dialer) *http.Transport {
	dial := d.DialContext
	if o.DialContext != nil {
		dial = o.DialContext
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  nil, // a proxy would dial in our place, and the guard would see nothing but the proxy
		DialContext:            surviving(o.Panics, traceDial(dial)),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, ClientSessionCache: tls.NewLRUClientSessionCache(1024)},
		TLSHandshakeTimeout:    o.timeout(), // a handshake goes on without its attempt, for the next one to use
		MaxIdleConns:           o.maxIdle(),
		MaxIdleConnsPerHost:    o.maxIdlePerHost(),
		IdleConnTimeout:        60 * time.Second,
		DisableCompression:     true, // a bomb stays as small as it was sent
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              protocols,
		HTTP2: &http.HTTP2Config{
			// A dead HTTP/2 connection swallows every attempt to its host, each for its whole time; it is found out
			// within two attempts' worth.
			SendPingTimeout: o.timeout(),
			PingTimeout:     o.timeout(),
			// Nobody reads more than 64 KiB of an answer, so no receiver need be told that it may send 4 MiB.
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
		},
	}
}
