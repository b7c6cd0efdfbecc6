package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/admin"
	"github.com/popsee/webhooks/cmd/webhooks/internal/app"
	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/cmd/webhooks/internal/natsd"
	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
)

// How long opening and closing may take.
const (
	openTime   = time.Minute // one step of the start: a million endpoints load in ten seconds
	closeTime  = 10 * time.Second
	headerRoom = 16 << 10 // of max_payload, for headers
)

// insecureWarning is said wherever somebody looks while it is true.
const insecureWarning = "UNSAFE: --allow-insecure-endpoints lets webhooks go to plain http and to this machine; for development only"

// service is the whole of `webhooks run`: it opens things in order and closes
// them in reverse.
type service struct {
	settings config.Settings
	env      func(string) string // of the process
	replica  string              // this process among the replicas
	log      zerolog.Logger
	closers  app.Closers

	embedded *natsd.Server // nil against an external NATS
	nc       *nats.Conn
	js       jetstream.JetStream
	layout   layout.Layout
	keys     *config.Keyring // as it was at the start
	ring     ringInUse       // the same, as it changes
	store    *config.Store
	client   *delivery.Client
	own      ownListeners
	traces   *tracing.Exporter // nil: nothing is traced
	metrics  *prometheus.Registry
	panics   *panics.Guard
	history  consumer.History // nil: nothing is remembered
	consumer *consumer.Consumer
	ready    atomic.Pointer[consumer.Consumer] // set once everything is open
	gone     chan error                        // the connection is closed for good
	endBy    time.Time                         // when the process is to have ended; zero: nobody has told it to end
}

// openService opens everything. On an error what was opened is closed again.
func openService(ctx context.Context, s config.Settings, env func(string) string, log zerolog.Logger) (*service, error) {
	v := &service{settings: s, env: env, replica: replicaName(), log: log, metrics: prometheus.NewRegistry(), gone: make(chan error, 1)}
	v.panics = panics.New(log, v.metrics)
	v.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A straight list: each step needs the ones before it.
	for _, step := range []func(context.Context) error{
		v.openEmbedded, v.connect, v.openGauges, v.openAdmin, v.openTracing, v.openKeys, v.patient(v.arrange), v.patient(v.provision), v.patient(v.openStreams), v.patient(v.openStore), v.openClient, v.openHistory,
		v.openConsumer,
	} {
		if err := v.step(ctx, step); err != nil {
			return nil, errors.Join(err, v.close())
		}
	}
	return v, nil
}

func (v *service) step(ctx context.Context, open func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return open(ctx)
}

// openEmbedded starts the server in the process when no NATS is given.
func (v *service) openEmbedded(context.Context) error {
	if v.settings.NATS.External() {
		return nil
	}
	if err := v.settings.NATS.CheckUsed(); err != nil {
		return usage{err}
	}
	e := v.settings.Embedded
	s, err := natsd.Start(natsd.Options{DataDir: e.DataDir, Listen: e.Listen, MaxStore: int64(e.MaxStore), Log: v.log})
	if err != nil {
		return err
	}
	v.embedded = s
	v.own.listens(s.URL())
	v.closers.Push("embedded NATS server", stopTime, func(context.Context) error { return s.Shutdown() })
	v.log.Info().Str("data", e.DataDir).Str("url", s.URL()).Stringer("max_store", e.MaxStore).
		Msg("no NATS was given: started an embedded one, every write synced to disk")
	return nil
}

func (v *service) connect(ctx context.Context) error {
	o := bus.Options{Name: "webhooks " + programVersion(), Log: v.log, Closed: v.lost, Panics: v.panics}
	if v.embedded != nil {
		o.InProcess = v.embedded
	}
	nc, err := bus.Connect(v.settings.NATS, o)
	if err != nil {
		return err
	}
	v.nc = nc
	if v.embedded == nil {
		v.own.nc = nc
		for _, monitor := range v.settings.NATS.Monitors() {
			v.own.listens(strings.TrimSpace(monitor))
		}
	}
	v.closers.Push("NATS connection", closeTime, func(context.Context) error {
		v.nc.SetClosedHandler(nil) // this close is meant
		err := v.nc.FlushTimeout(time.Second)
		v.nc.Close()
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrTimeout) {
			return nil // NATS was away: nothing is in the buffer, see bus.Connect
		}
		return err
	})
	if v.js, err = bus.JetStream(nc, v.settings.NATS); err != nil {
		return err
	}
	if v.embedded == nil {
		bus.WarnOfSync(ctx, v.settings.NATS.Monitors(), v.log)
		v.log.Info().Str("server", bus.Server(nc)).Str("cluster", nc.ConnectedClusterName()).Msg("connected to NATS")
	}
	return nil
}

// lost is called when the connection is gone for good, which its settings rule
// out; the process must not go on pretending.
func (v *service) lost(err error) {
	select {
	case v.gone <- withHint("start the service again, as systemd and Kubernetes do by themselves: what was in hand is delivered again; what NATS said before is in the log",
		"the NATS connection was closed for good: %w", cmpErr(err, nats.ErrConnectionClosed)):
	default:
	}
}

func cmpErr(err, fallback error) error {
	if err == nil {
		return fallback
	}
	return err
}

func (v *service) openAdmin(ctx context.Context) (err error) {
	if v.settings.Admin.Listen == "" {
		return nil
	}
	o := admin.Options{
		Listen: v.settings.Admin.Listen, Version: programVersion(), Token: v.settings.Admin.Token.Reveal(), Metrics: v.metrics, Live: v.live, Ready: v.isReady, Panics: v.panics,
	}
	if o.API, err = v.api(); err != nil {
		return err
	}
	if v.settings.Delivery.AllowInsecure {
		o.Warnings = []string{insecureWarning}
	}
	s, err := admin.Start(ctx, o)
	if err != nil {
		return err
	}
	v.closers.Push("admin listener", closeTime, s.Shutdown)
	v.own.listens(s.Addr().String())
	v.log.Info().Str("url", "http://"+s.Addr().String()).Msg("serving /livez, /readyz and /metrics")
	return nil
}

func (v *service) live() error {
	if c := v.ready.Load(); c != nil {
		return c.Live()
	}
	return nil
}

func (v *service) isReady() error {
	c := v.ready.Load()
	switch {
	case c == nil:
		return errors.New("starting")
	case v.nc.Status() != nats.CONNECTED:
		return errors.New("NATS is away")
	default:
		return c.Ready()
	}
}

func (v *service) openKeys(context.Context) error {
	path, create := v.settings.KeyringPath()
	var err error
	switch {
	case v.settings.Keys.Inline != "":
		v.keys, err = config.ParseKeyring([]byte(v.settings.Keys.Inline.Reveal()))
	case path == "":
		v.log.Warn().Msg("no key ring: endpoints with a secret cannot be signed for and their events wait; make one with `webhooks keys generate` and give it with --keyring")
	case create:
		var created bool
		if v.keys, created, err = config.LoadOrCreateKeyring(path); created {
			v.log.Info().Str("file", path).Msg("made a key pair that endpoints' secrets are sealed with; keep a copy of it")
		}
	default:
		v.keys, err = config.LoadKeyring(path)
	}
	return err
}

// arrange works out the layout from the settings and from what the server says
// of itself, and refuses what cannot work.
func (v *service) arrange(ctx context.Context) error {
	l, err := arrange(ctx, v.js, v.settings)
	if err != nil {
		return err
	}
	v.layout = l
	if v.settings.Delivery.AllowInsecure {
		v.log.Warn().Msg(insecureWarning)
	}
	room := v.nc.MaxPayload() - headerRoom
	if limit := int64(v.settings.Delivery.EventMaxBytes); limit > room {
		return withHint(fmt.Sprintf("lower --event-max-bytes to %d, or raise max_payload on NATS", room),
			"events of %d bytes do not fit: NATS takes messages of %d bytes, and headers need %d of them", limit, v.nc.MaxPayload(), headerRoom)
	}
	return nil
}

// arrange is the layout for settings on a server.
func arrange(ctx context.Context, js jetstream.JetStream, s config.Settings) (layout.Layout, error) {
	names, err := s.Bus.Names()
	if err != nil {
		return layout.Layout{}, usage{err}
	}
	ctx, cancel := context.WithTimeout(ctx, accountTime)
	defer cancel()
	info, err := js.AccountInfo(ctx)
	if err != nil {
		return layout.Layout{}, withHint("enable JetStream in the server's configuration, or check the account's permissions", "ask NATS for its JetStream account: %w", err)
	}
	l := layout.Layout{
		Names: names, Replicas: s.Bus.ReplicaCount(js.Conn().ConnectedClusterName() != ""),
		AckWait: s.Delivery.AckWait, History: s.Bus.History, StoreBytes: max(info.Limits.MaxStore, 0),
	}
	if l.StoreBytes == 0 && !s.NATS.External() {
		l.StoreBytes = int64(s.Embedded.MaxStore)
	}
	return l, nil
}

func (v *service) provision(ctx context.Context) error {
	report, err := provision.Run(ctx, v.js, v.layout, provision.Ensure, v.log)
	for _, f := range report {
		if f.Verdict == provision.Created {
			v.log.Info().Str("name", f.Name).Msg("created " + f.Kind)
		}
	}
	if errors.As(err, new(*mark.Alarm)) {
		return nil // the consumer says it, stays, and goes on when a person has decided
	}
	return err
}

func (v *service) openStore(ctx context.Context) error {
	started := time.Now()
	s, err := config.Open(ctx, v.js, v.layout.Names.Endpoints(), config.StoreOptions{
		Keys: v.keys, Rules: v.settings.Delivery.Rules(), MaxEndpoints: v.settings.Delivery.MaxEndpoints, Log: v.log, Panics: v.panics,
	})
	if err != nil {
		return err
	}
	v.store = s
	v.ring.ring = v.keys
	v.ring.show(v.metrics)
	v.closers.Push("endpoints", closeTime, func(context.Context) error { s.Close(); return nil })
	if path, _ := v.settings.KeyringPath(); path != "" {
		end := inBackground(v.panics, func(ctx context.Context) { v.ring.follow(ctx, path, s, v.log) })
		v.closers.Push("key ring", closeTime, func(context.Context) error { end(); return nil })
	}
	v.log.Info().Int("endpoints", s.Len()).Dur("took", time.Since(started)).Msg("endpoints are in memory")
	return nil
}

func (v *service) openClient(ctx context.Context) error {
	roots, err := caBundle(v.settings.Delivery.CABundle)
	if err != nil {
		return err
	}
	c, err := delivery.NewClient(delivery.Options{
		Version: programVersion(), Rules: v.settings.Delivery.Rules(), RootCAs: roots, Own: v.own.look(ctx), Panics: v.panics,
	})
	if err != nil {
		return fmt.Errorf("set up the HTTP client: %w", err)
	}
	v.client = c
	v.closers.Push("HTTP client", closeTime, func(context.Context) error { c.Close(); return nil })
	end := inBackground(v.panics, func(ctx context.Context) { v.own.follow(ctx, c) })
	v.closers.Push("own addresses", closeTime, func(context.Context) error { end(); return nil })
	return nil
}

func caBundle(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA bundle: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, withHint("it must hold certificates in PEM form", "the CA bundle %s holds no certificate", path)
	}
	return pool, nil
}

// openHistory starts writing the delivery log; its close writes what is left.
func (v *service) openHistory(ctx context.Context) error {
	if v.settings.Delivery.NoDeliveryLog {
		v.log.Warn().Msg("no delivery log is kept (--no-delivery-log): nobody will know what was sent, and an audit can prove nothing")
		return nil
	}
	history := deliverylog.New(v.js, v.layout.Names, deliverylog.Options{Replica: v.replica, Log: v.log, Metrics: v.metrics, Panics: v.panics})
	v.history = history
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		done <- v.panics.Try(panics.PlaceLog, func() error { return history.Run(writing) })
	}()
	v.closers.Push("delivery log", closeTime, func(ctx context.Context) error {
		stop()
		return errors.Join(<-done, history.Flush(ctx))
	})
	return nil
}

// replicaName tells replicas apart: the host's name, for people, and what no other
// process has ever had. A container that is started again has the host's name and
// the process id of the one before; a lease that bears our name is taken for ours.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	// It is also a key-value key: a host's name may hold dots and no more.
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, host+"-"+strings.ToLower(rand.Text()[:8]))
}

func (v *service) openConsumer(context.Context) error {
	v.consumer = consumer.New(v.js, v.store, v.client, consumer.Options{
		Layout: v.layout, MaxBytes: int(v.settings.Delivery.EventMaxBytes), Slots: v.settings.Delivery.MaxInFlight,
		DisableAfter: v.settings.Delivery.DisableAfter,
		Replica:      v.replica, Version: programVersion(), Log: v.log, Metrics: v.metrics, History: v.history, Panics: v.panics,
		Tracer: v.traces.Tracer(),
	})
	v.ready.Store(v.consumer)
	return nil
}

// run delivers until ctx ends, then finishes what is in hand. Two contexts, two
// promises: ctx ends fetching; work, later, ends what is in hand.
func (v *service) run(ctx context.Context) error {
	fetch, stopFetching := context.WithCancelCause(ctx)
	defer stopFetching(nil)
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	ended := make(chan error, 1)
	go func() {
		ended <- v.panics.Try(panics.PlaceRun, func() error { return v.consumer.Run(fetch, work) })
	}()
	select {
	case err := <-ended:
		return err
	case err := <-v.gone:
		stopFetching(err)
		stopWork()
		return errors.Join(err, <-ended)
	case <-ctx.Done():
	}
	v.log.Info().Msg("stopping: what is in hand finishes first")
	v.endBy = time.Now().Add(stopTime)
	return finish(ended, stopWork)
}
