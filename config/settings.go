package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Settings is all that the process can be told. Every field is a flag, an
// environment variable and a key of the YAML file; [Options] makes a kong
// parser read them in that order of precedence.
type Settings struct {
	Config   ConfigFile       `name:"config" short:"c" env:"WEBHOOKS_CONFIG" placeholder:"FILE" help:"YAML file with settings; keys are the names of these flags."`
	NATS     NATSSettings     `embed:"" group:"NATS:"`
	Embedded EmbeddedSettings `embed:"" group:"Embedded NATS server (used when no NATS is given):"`
	Bus      BusSettings      `embed:"" group:"Streams:"`
	Delivery DeliverySettings `embed:"" group:"Delivery:"`
	Keys     KeySettings      `embed:"" group:"Keys:"`
	Admin    AdminSettings    `embed:"" group:"Admin:"`
	Log      LogSettings      `embed:"" group:"Log:"`
}

// NATSSettings is how to reach NATS, under the names the NATS command line
// uses. All empty means the embedded server.
type NATSSettings struct {
	URL      string   `name:"nats-url" aliases:"server" env:"NATS_URL" placeholder:"URL,..." help:"NATS servers; without any, run starts its own, and the other commands ask that of a run on this machine."`
	Context  string   `name:"nats-context" env:"NATS_CONTEXT" placeholder:"NAME" help:"NATS context, as made by the NATS command line."`
	Creds    string   `name:"nats-creds" aliases:"creds" env:"NATS_CREDS" placeholder:"FILE" help:"Credentials file."`
	User     string   `name:"nats-user" env:"NATS_USER" placeholder:"NAME" help:"User name or token."`
	Password Password `name:"nats-password" env:"NATS_PASSWORD" placeholder:"PASSWORD" help:"Password; better given through the environment, where no process list shows it."`
	NKey     string   `name:"nats-nkey" aliases:"nkey" env:"NATS_NKEY" placeholder:"FILE" help:"User NKey seed file."`
	Cert     string   `name:"nats-cert" aliases:"tlscert" env:"NATS_CERT" placeholder:"FILE" help:"TLS client certificate."`
	Key      string   `name:"nats-key" aliases:"tlskey" env:"NATS_KEY" placeholder:"FILE" help:"TLS client key."`
	CA       string   `name:"nats-ca" aliases:"tlsca" env:"NATS_CA" placeholder:"FILE" help:"TLS certificate authority."`
	Inbox    string   `name:"nats-inbox-prefix" aliases:"inbox-prefix" env:"NATS_INBOX_PREFIX" placeholder:"PREFIX" help:"Where NATS answers this user, so that no other user hears it; _INBOX if not given."`
	API      string   `name:"nats-js-api-prefix" aliases:"js-api-prefix" env:"NATS_JS_API_PREFIX" placeholder:"PREFIX" help:"Where the JetStream API of another account is reached from this user's; $$JS.API if not given."`
	Monitor  string   `name:"nats-monitor" env:"WEBHOOKS_NATS_MONITOR" placeholder:"URL,..." help:"Monitoring addresses of the NATS nodes, such as http://nats-0:8222: at the start a node is warned of that does not sync every write."`
}

// EmbeddedSettings is the NATS server inside the process, and the folder where
// the process keeps what is its own.
type EmbeddedSettings struct {
	DataDir  string `name:"data-dir" env:"WEBHOOKS_DATA_DIR" default:"./webhooks-data" placeholder:"DIR" help:"Folder of the embedded server and of its key ring (default: ${default})."`
	Listen   string `name:"listen" env:"WEBHOOKS_LISTEN" default:"127.0.0.1:4222" placeholder:"ADDRESS" help:"Where the embedded server listens (default: ${default}); empty means nowhere."`
	MaxStore Bytes  `name:"max-store" env:"WEBHOOKS_MAX_STORE" default:"10GiB" placeholder:"SIZE" help:"What the embedded server may store (default: ${default})."`
}

// BusSettings is what the service's streams and buckets are called and how
// often they are stored.
type BusSettings struct {
	Prefix   string        `name:"prefix" env:"WEBHOOKS_PREFIX" placeholder:"NAME" help:"Keeps several deployments on one NATS apart."`
	Replicas int           `name:"replicas" env:"WEBHOOKS_REPLICAS" default:"0" placeholder:"N" help:"Copies of each stream: 1, 3 or 5; 0 means 3 on a cluster and 1 on a single server."`
	History  time.Duration `name:"history" env:"WEBHOOKS_HISTORY" default:"720h" placeholder:"DURATION" help:"How long events stay replayable, if the event stream is made here (default: ${default})."`
}

// DeliverySettings bounds what one replica has in hand and where it may send.
type DeliverySettings struct {
	MaxInFlight   int            `name:"max-in-flight" env:"WEBHOOKS_MAX_IN_FLIGHT" default:"2000" placeholder:"N" help:"Attempts that one replica makes at the same time (default: ${default})."`
	AckWait       time.Duration  `name:"ack-wait" env:"WEBHOOKS_ACK_WAIT" default:"30s" placeholder:"DURATION" help:"After how long NATS gives an unfinished event to another replica (default: ${default})."`
	DisableAfter  time.Duration  `name:"disable-after" env:"WEBHOOKS_DISABLE_AFTER" default:"120h" placeholder:"DURATION" help:"After how long of failing an endpoint is disabled; its events are kept for it (default: ${default})."`
	MaxEndpoints  int            `name:"max-endpoints" env:"WEBHOOKS_MAX_ENDPOINTS" default:"2000000" placeholder:"N" help:"Endpoints kept in memory; NATS is asked for the others when their events come (default: ${default})."`
	NoDeliveryLog bool           `name:"no-delivery-log" env:"WEBHOOKS_NO_DELIVERY_LOG" help:"Keep no record of attempts and settlements: 'webhooks attempts' then shows nothing of them, and 'webhooks audit' can prove nothing."`
	EventMaxBytes Bytes          `name:"event-max-bytes" env:"WEBHOOKS_EVENT_MAX_BYTES" default:"1MiB" placeholder:"SIZE" help:"Largest event (default: ${default})."`
	AllowInsecure bool           `name:"allow-insecure-endpoints" env:"WEBHOOKS_ALLOW_INSECURE_ENDPOINTS" help:"For development only: endpoints may use http and be on this machine; private networks are opened by --allow alone."`
	Allow         []netip.Prefix `name:"allow" env:"WEBHOOKS_ALLOW" placeholder:"PREFIX,..." help:"Private networks that endpoints may be on, such as 10.1.0.0/16."`
	CABundle      string         `name:"ca-bundle" env:"WEBHOOKS_CA_BUNDLE" placeholder:"FILE" help:"Certificate authorities that endpoints are checked against, instead of the system's."`
}

// KeySettings is where the keys are that open the secrets of endpoints.
type KeySettings struct {
	Ring   string   `name:"keyring" env:"WEBHOOKS_KEYRING" placeholder:"FILE" help:"Key ring that opens endpoints' secrets; with the embedded server keyring.json in the data folder, made when missing. Read again when it changes."`
	Inline Password `name:"keyring-json" env:"WEBHOOKS_KEYRING_JSON" placeholder:"JSON" help:"The key ring itself, where secrets come as environment variables; instead of a file."`
}

// AdminSettings is where health and metrics are served.
type AdminSettings struct {
	Listen string   `name:"admin-listen" env:"WEBHOOKS_ADMIN_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Where health and metrics are served (default: ${default}); empty means nowhere."`
	Token  Password `name:"admin-token" env:"WEBHOOKS_ADMIN_TOKEN" placeholder:"TOKEN" help:"Asked of everybody, as a bearer token, for everything but health; needed where the address is not this machine's own. Better given through the environment, where no process list shows it."`
}

// LogSettings is what is logged and how it looks.
type LogSettings struct {
	Level  string `name:"log-level" env:"WEBHOOKS_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"trace, debug, info, warn or error (default: ${default})."`
	Format string `name:"log-format" env:"WEBHOOKS_LOG_FORMAT" default:"auto" placeholder:"FORMAT" help:"json, console, or auto: console on a terminal, else json (default: ${default})."`
}

// External says whether NATS is somewhere else than in this process.
func (n NATSSettings) External() bool { return n.URL != "" || n.Context != "" }

// Monitors are the monitoring addresses of the NATS nodes.
func (n NATSSettings) Monitors() []string {
	if n.Monitor == "" {
		return nil
	}
	return strings.Split(n.Monitor, ",")
}

// Rules is where endpoints may be.
func (d DeliverySettings) Rules() delivery.Rules {
	return delivery.Rules{AllowInsecure: d.AllowInsecure, Allow: d.Allow}
}

// Names spells the names on the bus.
func (b BusSettings) Names() (events.Names, error) {
	names, err := events.NewNames(b.Prefix)
	if err != nil {
		return events.Names{}, fmt.Errorf("--prefix: %w", err)
	}
	return names, nil
}

// ReplicaCount is how many copies streams have, on a single server or a
// cluster.
func (b BusSettings) ReplicaCount(clustered bool) int {
	switch {
	case b.Replicas > 0:
		return b.Replicas
	case clustered:
		return 3
	default:
		return 1
	}
}

// KeyringPath is where the key ring is, and whether it is made when it is
// missing. Only the embedded server's is: replicas that each made their own
// could not open each other's secrets.
func (s Settings) KeyringPath() (path string, create bool) {
	if s.Keys.Ring != "" {
		return s.Keys.Ring, false
	}
	if s.NATS.External() || s.Keys.Inline != "" {
		return "", false
	}
	return filepath.Join(s.Embedded.DataDir, "keyring.json"), true
}

// ZerologLevel is the level to log at.
func (l LogSettings) ZerologLevel() zerolog.Level {
	level, err := zerolog.ParseLevel(l.Level)
	if err != nil {
		return zerolog.InfoLevel
	}
	return level
}

// Console says whether to write for people rather than programs.
func (l LogSettings) Console(terminal bool) bool {
	return l.Format == "console" || l.Format == "auto" && terminal
}

// Password is text that does not show itself.
type Password string

// String hides the password.
func (p Password) String() string { return "password(...)" }

// GoString hides the password.
func (p Password) GoString() string { return p.String() }

// MarshalText hides the password.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Reveal returns the password itself.
func (p Password) Reveal() string { return string(p) }

var errListen = errors.New("want host:port")

func checkListen(address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q: %w", address, errListen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: %w", address, errListen)
	}
	return nil
}

func checkServer(s string) error {
	if s = strings.TrimSpace(s); s == "" {
		return errors.New("an empty server address")
	}
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return errors.New("a server address is not a URL") // not quoted: it may hold a password
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return nil
	}
	return withHint(fmt.Errorf("scheme %q", u.Scheme), "use nats://, tls://, ws:// or wss://")
}
