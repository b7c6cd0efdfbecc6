package delivery

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/popsee/webhooks/delivery/panics"
)

// Client makes attempts. It is safe for concurrent use, and one is enough for a process: it keeps the connections.
type Client struct {
	pool      *pool
	transport *http.Transport // for HTTP/2
	http2     spokenHTTP2
	deadlines deadlines // of attempts over HTTP/2
	tls       *tls.Config
	guard     *guard      // nobody asks it where Options.DialContext replaces dialling
	dialer    *net.Dialer // asks the guard; idle where Options.DialContext replaces it
	dial      dialFunc
	panics    *panics.Guard
	timeout   time.Duration
	agent     string

	calls    sync.Pool // of *call: empty ones
	requests sync.Pool // of *[]byte: a request as it is written
	readers  sync.Pool // of *bufio.Reader: for a connection in use
	windows  sync.Pool // of *[windowBytes]byte: the start of a body, while it is looked at
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
	c := &Client{
		pool:      newPool(o.maxIdle(), o.maxIdlePerHost(), o.Panics),
		tls:       newTLSConfig(o),
		guard:     g,
		dialer:    d,
		dial:      d.DialContext,
		timeout:   o.timeout(),
		deadlines: deadlines{timeout: o.timeout()},
		agent:     agent,
		panics:    o.Panics,

		calls:    sync.Pool{New: func() any { return new(call) }},
		requests: sync.Pool{New: func() any { return new([]byte) }},
		readers:  sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBytes) }},
		windows:  sync.Pool{New: func() any { return new([windowBytes]byte) }},
	}
	if o.DialContext != nil {
		c.dial = o.DialContext
	}
	c.dial = surviving(o.Panics, c.dial)
	c.transport = newTransport(o, c)
	return c, nil
}

// Close releases the kept connections. Attempts still running end by themselves and keep none.
func (c *Client) Close() {
	c.pool.close()
	c.transport.CloseIdleConnections()
}

// SetOwn replaces the listeners that Options.Own names: those of NATS move while the process runs. Kept connections are
// dropped, for they were judged by the list of before.
func (c *Client) SetOwn(own []netip.AddrPort) {
	own = slices.Clone(own)
	c.guard.own.Store(&own)
	c.hangUp()
}

// hangUp drops every connection that is kept, and those in use when their attempts are over.
func (c *Client) hangUp() {
	c.pool.outdate()
	c.transport.CloseIdleConnections()
}

func newTLSConfig(o Options) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, ClientSessionCache: tls.NewLRUClientSessionCache(1024),
		NextProtos: []string{"h2", "http/1.1"},
	}
}

// newTransport is used by RoundTrip alone: no http.Client stands in between, so nothing follows a redirect, keeps a
// cookie or sets a second timer.
func newTransport(o Options, c *Client) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  nil, // a proxy would dial in our place, and the guard would see nothing but the proxy
		DialContext:            c.dialTCP,
		DialTLSContext:         surviving(o.Panics, c.dialForTransport),
		MaxIdleConns:           o.maxIdle(),
		MaxIdleConnsPerHost:    o.maxIdlePerHost(),
		IdleConnTimeout:        idleTime,
		DisableCompression:     true, // a bomb stays as small as it was sent
		MaxResponseHeaderBytes: headBytes,
		Protocols:              protocols,
		HTTP2: &http.HTTP2Config{
			// A dead HTTP/2 connection swallows every attempt to its host, each for its whole time; it is found out
			// within two attempts' worth.
			SendPingTimeout: o.timeout(),
			PingTimeout:     o.timeout(),
			// Nobody reads more than 64 KiB of an answer, so no receiver need be told that it may send 4 MiB.
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			// Of our headers the signatures, ids and times are new with each event: they would enter the table of recent
			// headers, throw out what repeats and never be found there. None is kept.
			MaxEncoderHeaderTableSize: 1, // the least there is: 0 means 4096
		},
	}
}
