package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of settings, with the reasons.
const (
	attemptTime    = 5 * time.Second // what one attempt may take; less than AckWait, or NATS gives away what is in hand
	minAckWait     = 2 * attemptTime
	maxInFlightCap = 20_000    // what the live consumer may have pending in all
	minDisable     = time.Hour // a deploy or a restart must not cost an owner their endpoint
	minEventBytes  = 1 << 10
	maxEventBytes  = 8<<20 - 16<<10 // the embedded server's largest message, less headers
	minStore       = 64 << 20
)

// Validate reports everything that is wrong at once, as [Faults]. A kong parser
// calls it by itself.
func (s Settings) Validate() error {
	var f Faults
	f.checkNATS(s.NATS)
	f.checkEmbedded(s.Embedded)
	f.checkBus(s.Bus)
	f.checkDelivery(s.Delivery)
	f.checkKeys(s.Keys)
	f.checkLog(s.Log)
	f.checkAdmin(s.Admin)
	return f.err()
}

// minAdminToken is what cannot be guessed over a network, if it is random.
const minAdminToken = 16

// checkAdmin lets the admin listener out of this machine only with a token.
func (f *Faults) checkAdmin(a AdminSettings) {
	if err := checkListen(a.Listen); err != nil {
		f.under("--admin-listen", err)
		return
	}
	switch n := len(a.Token.Reveal()); {
	case n == 0 && a.Listen != "" && !onLoopback(a.Listen):
		f.add(withHint(fmt.Errorf("--admin-listen: %s can be reached from other machines, and there is no --admin-token", a.Listen),
			"set WEBHOOKS_ADMIN_TOKEN to a random text, or listen on 127.0.0.1"))
	case n > 0 && n < minAdminToken:
		f.addf("--admin-token: %d bytes, want at least %d", n, minAdminToken)
	}
}

// onLoopback says whether an address can be reached from this machine alone. A
// name is not asked for: who listens on localhost means this machine.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (f *Faults) under(flag string, err error) {
	if err != nil {
		f.add(fmt.Errorf("%s: %w", flag, err))
	}
}

func (f *Faults) checkNATS(n NATSSettings) {
	if n.URL != "" {
		for server := range strings.SplitSeq(n.URL, ",") {
			f.under("--nats-url", checkServer(server))
		}
	}
	if strings.ContainsAny(n.Inbox, " \t\r\n*>") || strings.HasSuffix(n.Inbox, ".") {
		f.addf("--nats-inbox-prefix: %q is no subject", n.Inbox)
	}
	if (n.Cert == "") != (n.Key == "") {
		f.addf("--nats-cert and --nats-key: one is useless without the other")
	}
	if n.Password != "" && n.User == "" {
		f.addf("--nats-password: there is no --nats-user")
	}
}

// CheckUsed refuses credentials for a NATS that is nowhere: whoever set them
// does not expect the embedded server. It is not part of Validate, because the
// environment may hold them for the NATS command line while a command that
// needs no NATS runs.
func (n NATSSettings) CheckUsed() error {
	if n.External() || n == (NATSSettings{}) {
		return nil
	}
	return withHint(errors.New("there are credentials for NATS, but no --nats-url and no --nats-context"),
		"say where NATS is, or unset NATS_CREDS, NATS_USER and the like to use the embedded server")
}

func (f *Faults) checkEmbedded(e EmbeddedSettings) {
	if e.DataDir == "" {
		f.addf("--data-dir: it is empty")
	}
	f.under("--listen", checkListen(e.Listen))
	if e.MaxStore < minStore {
		f.addf("--max-store: %v is too little, at least %v are needed", e.MaxStore, Bytes(minStore))
	}
}

func (f *Faults) checkBus(b BusSettings) {
	_, err := b.Names()
	f.add(err)
	if !slices.Contains([]int{0, 1, 3, 5}, b.Replicas) {
		f.addf("--replicas: %d is not 0, 1, 3 or 5", b.Replicas)
	}
	if b.History < time.Hour {
		f.addf("--history: %v is less than an hour", b.History)
	}
}

func (f *Faults) checkDelivery(d DeliverySettings) {
	if d.MaxInFlight < 1 || d.MaxInFlight > maxInFlightCap {
		f.addf("--max-in-flight: %d is not between 1 and %d", d.MaxInFlight, maxInFlightCap)
	}
	if d.MaxEndpoints < 1 {
		f.addf("--max-endpoints: %d is less than 1", d.MaxEndpoints)
	}
	if d.AckWait < minAckWait || d.AckWait > time.Hour {
		f.addf("--ack-wait: %v is not between %v and 1h: an attempt may take %v", d.AckWait, minAckWait, attemptTime)
	}
	if d.DisableAfter < minDisable {
		f.addf("--disable-after: %v is less than %v: a deploy that breaks would disable its endpoint", d.DisableAfter, minDisable)
	}
	if d.EventMaxBytes < minEventBytes || d.EventMaxBytes > maxEventBytes {
		f.addf("--event-max-bytes: %v is not between %v and %v", d.EventMaxBytes, Bytes(minEventBytes), Bytes(maxEventBytes))
	}
	for _, p := range d.Allow {
		if !p.IsValid() || p.Bits() == 0 {
			f.add(withHint(fmt.Errorf("--allow: %v is everything", p), "name the private networks your endpoints are on"))
		}
	}
}

func (f *Faults) checkKeys(k KeySettings) {
	if k.Ring != "" && k.Inline != "" {
		f.addf("--keyring and --keyring-json: only one of them")
	}
}

func (f *Faults) checkLog(l LogSettings) {
	for _, named := range []struct {
		flag, value string
		known       []string
	}{
		{"--log-level", l.Level, []string{"trace", "debug", "info", "warn", "error"}},
		{"--log-format", l.Format, []string{"auto", "json", "console"}},
	} {
		if err := OneOf(named.value, named.known); err != nil {
			f.add(fmt.Errorf("%s: %w", named.flag, err))
		}
	}
}
