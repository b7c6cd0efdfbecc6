package delivery

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/popsee/webhooks/delivery/panics"
)

const (
	// mostKept bounds the connections that are kept between attempts: each is a file descriptor.
	mostKept = 4096

	// mostKeptPerHost bounds those to one host: thousands of endpoints may share one, and churn costs a third of the rate.
	mostKeptPerHost = 1024
)

// Options say how a Client sends. The zero value is a client for the public internet.
type Options struct {
	Version        string // of the service, for User-Agent; empty = "dev"
	Rules          Rules
	RootCAs        *x509.CertPool   // nil = the system's
	Resolver       *net.Resolver    // nil = the system's
	Own            []netip.AddrPort // our own listeners, refused whatever Rules allow; an unspecified address = every one of this machine
	Timeout        time.Duration    // for a whole attempt; 0 = 5 s
	MaxIdle        int              // kept connections in all; 0 = 4096
	MaxIdlePerHost int              // kept connections to one host; 0 = 1024

	// DialContext replaces dialling, resolver and guard and all, for receivers in memory. nil = the guarded dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	Panics *panics.Guard // hears of a panic in a goroutine of the client's own, while dialling or looking after kept connections
}

func (o Options) version() string        { return either(o.Version, "dev") }
func (o Options) timeout() time.Duration { return either(o.Timeout, 5*time.Second) }
func (o Options) maxIdle() int           { return either(o.MaxIdle, mostKept) }
func (o Options) maxIdlePerHost() int    { return either(o.MaxIdlePerHost, mostKeptPerHost) }

func either[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Validate reports everything that is wrong at once.
func (o Options) Validate() error {
	errs := []error{checkAllow(o.Rules.Allow)}
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("attempt timeout %s: want more than nothing", o.Timeout))
	}
	if o.MaxIdle < 0 || o.MaxIdlePerHost < 0 {
		errs = append(errs, fmt.Errorf("kept connections %d, to one host %d: want none below 0", o.MaxIdle, o.MaxIdlePerHost))
	}
	for _, own := range o.Own {
		if !own.IsValid() {
			errs = append(errs, errors.New("an own listener without address and port cannot be kept from webhooks"))
		}
	}
	return errors.Join(errs...)
}
