package delivery

import (
	"context"
	"crypto/tls"
	"time"
)

// Handshake is how far a connection to an endpoint came, before any request.
type Handshake struct {
	Host    string // as it is dialled, with its port
	Address string // that answered; empty when none did. It is for those who run this service, not for survey owners
	Phases  Phases // DNS, connect and TLS alone

	TLS      string    // the version agreed upon; empty without TLS
	Protocol string    // "h2" or "http/1.1"; empty without TLS
	Expires  time.Time // when the first of the certificates of the verified chain does; zero without TLS

	Reason Reason // why it did not come about; empty when it did
	Detail string // the same in words
}

// Handshake connects to an endpoint as an attempt would, through the same guard and
// to the same rules, and hangs up: no request is sent. The error is a [*URLError]
// alone; a connection that does not come about is a Handshake with a Reason.
func (c *Client) Handshake(ctx context.Context, endpoint string, rules Rules) (Handshake, error) {
	u, err := rules.CheckURL(endpoint)
	if err != nil {
		return Handshake{}, err
	}
	r := routeOf(u)
	h := Handshake{Host: r.address}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errTimeout)
	defer cancel()
	t := trace{started: time.Now()}
	if err := h.shake(&traced{ctx, &t}, c, r); err != nil {
		_, h.Reason = judgeError(err, context.Cause(ctx), t.stage())
		h.Detail = explain(err, context.Cause(ctx), h.Reason, c.timeout)
	}
	h.Phases = t.phases()
	return h, nil
}

func (h *Handshake) shake(ctx context.Context, c *Client, r route) error {
	conn, err := c.dialRoute(ctx, r)
	if err != nil {
		return err
	}
	defer conn.Close()
	h.Address = conn.RemoteAddr().String()
	if secure, ok := conn.(*tls.Conn); ok {
		h.read(secure.ConnectionState())
	}
	return nil
}

// read takes over what was agreed upon.
func (h *Handshake) read(s tls.ConnectionState) {
	h.TLS, h.Protocol = tls.VersionName(s.Version), s.NegotiatedProtocol
	if h.Protocol == "" {
		h.Protocol = "http/1.1"
	}
	for _, chain := range s.VerifiedChains[:min(len(s.VerifiedChains), 1)] {
		for _, cert := range chain {
			if h.Expires.IsZero() || cert.NotAfter.Before(h.Expires) {
				h.Expires = cert.NotAfter
			}
		}
	}
}
