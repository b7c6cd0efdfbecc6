// Package bus connects to NATS as a delivery service must: it never gives up,
// notices a dead link soon, and tells at once what could not be sent.
package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/panics"
)

// DefaultURL is where the embedded server listens by default, and so where the
// commands look for NATS when they are told nothing.
const DefaultURL = "nats://127.0.0.1:4222"

// Client settings, each against a default that has hurt.
const (
	pingInterval  = 20 * time.Second // the default of 2 min notices a dead link after 4
	pingsOut      = 2
	reconnectWait = 500 * time.Millisecond
	noBuffer      = -1 // the default keeps 8 MiB of acks and publishes silently while away
	forEver       = -1 // the default gives up after 60 tries
)

// Options are the choices of a connection.
type Options struct {
	Name      string                     // shown by the NATS tools
	InProcess nats.InProcessConnProvider // the embedded server; nil means the network
	Log       zerolog.Logger             // tells of disconnects
	Closed    func(err error)            // called when the connection is gone for good without being asked to
	Panics    *panics.Guard
}

// Connect connects by the settings. The error says what to do; its text never
// holds a password.
func Connect(s config.NATSSettings, o Options) (*nats.Conn, error) {
	opts, where, err := dialling(s, o)
	if err != nil {
		return nil, err
	}
	opts = append(opts, manners(o)...)
	nc, err := nats.Connect(where, opts...)
	if err != nil {
		return nil, explain(shown(s, where), s.External(), config.UnquotedURL(err))
	}
	return nc, nil
}

// manners are how the connection behaves once it stands.
func manners(o Options) []nats.Option {
	told := newTeller(o.Log)
	heard := func(f func()) { o.Panics.Do(panics.PlaceChange, f) } // in a goroutine of the client's, which catches nothing
	return []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(forEver),
		nats.ReconnectWait(reconnectWait),
		nats.IgnoreAuthErrorAbort(), // two equal auth errors would close it for good
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.ReconnectBufSize(noBuffer),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) { heard(func() { told.lost(nc, err) }) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { heard(func() { told.back(nc) }) }),
		nats.ErrorHandler(func(nc *nats.Conn, s *nats.Subscription, err error) { heard(func() { told.trouble(nc, s, err) }) }),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if o.Closed != nil {
				heard(func() { o.Closed(nc.LastError()) })
			}
		}),
	}
}

// dialling is where and as whom to connect.
func dialling(s config.NATSSettings, o Options) ([]nats.Option, string, error) {
	if o.InProcess != nil {
		return []nats.Option{nats.InProcessServer(o.InProcess)}, "", nil
	}
	if s.Context != "" {
		return fromContext(s)
	}
	opts, err := credentials(s)
	where := s.URL
	if where == "" {
		where = DefaultURL
	}
	return opts, where, err
}

// fromContext reads a context of the NATS command line; what is set besides
// wins over it.
func fromContext(s config.NATSSettings) ([]nats.Option, string, error) {
	c, err := natscontext.New(s.Context, true)
	if err != nil {
		return nil, "", withHint(fmt.Errorf("read NATS context %q: %w", s.Context, err), "see what there is with: nats context ls")
	}
	opts, err := c.NATSOptions()
	if err != nil {
		return nil, "", fmt.Errorf("NATS context %q: %w", s.Context, err)
	}
	more, err := credentials(s)
	where := c.ServerURL()
	if s.URL != "" {
		where = s.URL
	}
	return append(opts, more...), where, err
}

// credentials turns the settings into options, and checks the files first: the
// client would say less.
func credentials(s config.NATSSettings) ([]nats.Option, error) {
	for _, file := range []struct{ flag, path string }{
		{"--nats-creds", s.Creds}, {"--nats-nkey", s.NKey}, {"--nats-cert", s.Cert}, {"--nats-key", s.Key}, {"--nats-ca", s.CA},
	} {
		if file.path == "" {
			continue
		}
		if config.IsSeed(file.path) {
			return nil, withHint(fmt.Errorf("%s: this is a seed itself, and not the name of its file", file.flag), "write it into a file that only this user can read, and make a new one: process lists have shown it")
		}
		if _, err := os.Stat(file.path); err != nil {
			return nil, withHint(fmt.Errorf("%s: %w", file.flag, err), "the file must exist and be readable by this user")
		}
	}
	var opts []nats.Option
	switch {
	case s.Creds != "":
		opts = append(opts, nats.UserCredentials(s.Creds))
	case s.NKey != "":
		opt, err := nats.NkeyOptionFromSeed(s.NKey)
		if err != nil {
			return nil, fmt.Errorf("--nats-nkey %s: %w", s.NKey, err)
		}
		opts = append(opts, opt)
	case s.User != "" && s.Password != "":
		opts = append(opts, nats.UserInfo(s.User, s.Password.Reveal()))
	case s.User != "":
		opts = append(opts, nats.Token(s.User))
	}
	if s.Inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(s.Inbox))
	}
	if s.CA != "" {
		opts = append(opts, nats.RootCAs(s.CA))
	}
	if s.Cert != "" {
		opts = append(opts, nats.ClientCert(s.Cert, s.Key))
	}
	if s.CA != "" || s.Cert != "" {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	return opts, nil
}

// Server is the server of a connection, fit to be shown; empty while there is none.
// The client's own ConnectedUrlRedacted shows a token, which stands where a user does.
func Server(nc *nats.Conn) string {
	u, err := url.Parse(nc.ConnectedUrl())
	if err != nil || u.Host == "" {
		return ""
	}
	u.User = nil
	return config.RedactServers(u.String())
}

func shown(s config.NATSSettings, where string) string {
	return config.NATSSettings{URL: where, Context: s.Context}.Redacted()
}

// explain says in words why a connection failed. given says that somebody named this
// NATS: else it is the one that a service on this machine brings along.
func explain(where string, given bool, err error) error {
	wrapped := fmt.Errorf("connect to NATS at %s: %w", where, err)
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		if given {
			return withHint(wrapped, "is that NATS running, and reachable from here? it was named by --nats-url, NATS_URL, the settings file or the NATS context; when none is, webhooks run starts a NATS of its own")
		}
		return withHint(wrapped, "is it running? start the service with: webhooks run; or name your NATS with --nats-url or NATS_URL")
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return withHint(wrapped, "check the credentials: --nats-creds, --nats-user, --nats-nkey, or the NATS context")
	default:
		return withHint(wrapped, "check --nats-url, the TLS settings and the credentials")
	}
}

// Unreachable is the error of a connection that could not be made.
type Unreachable struct {
	err  error
	hint string
}

func withHint(err error, hint string) error { return &Unreachable{err, hint} }

// Error says what was attempted.
func (u *Unreachable) Error() string { return u.err.Error() }

// Hint says what to do.
func (u *Unreachable) Hint() string { return u.hint }

// Unwrap gives the cause.
func (u *Unreachable) Unwrap() error { return u.err }

// JetStream is the JetStream API as the settings reach it.
func JetStream(nc *nats.Conn, s config.NATSSettings) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc)
	if s.API != "" {
		js, err = jetstream.NewWithAPIPrefix(nc, s.API)
	}
	if err != nil {
		return nil, fmt.Errorf("open JetStream at %q (--nats-js-api-prefix is a subject without wildcards): %w", s.API, err)
	}
	return js, nil
}
