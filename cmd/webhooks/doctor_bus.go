package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/cmd/webhooks/internal/natsd"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
)

// Where the doctor begins to worry.
const (
	slowRTT    = 50 * time.Millisecond
	skewWarn   = time.Second
	skewFail   = 5 * time.Second // lanes tell events apart by the server's clock to this
	fullWarn   = 80              // per cent of what a stream may hold
	fullFail   = 95
	shortLeft  = 24 * time.Hour // until the oldest unsettled event leaves the event stream
	oldestNATS = "2.12"         // atomic batches
	wantedNATS = "2.14"         // a consumer that is reset to a sequence
)

func (d *doctor) checkConnection(ctx context.Context) ([]finding, error) {
	found := []finding{natsVersion(bus.Server(d.nc), d.nc.ConnectedServerVersion(), d.nc.ConnectedClusterName())}
	rtt, err := d.roundTrip(ctx)
	if err != nil {
		return found, err
	}
	return append(found, roundTripTook(rtt), d.transport()), nil
}

// natsVersion judges what NATS can do.
func natsVersion(where, version, cluster string) finding {
	switch {
	case !atLeast(version, oldestNATS):
		return fail("connection", "upgrade NATS to "+wantedNATS+" or later", "%s runs NATS %s, which cannot store many events at once; the service needs %s", where, version, oldestNATS)
	case !atLeast(version, wantedNATS):
		return warn("connection", "upgrade NATS to "+wantedNATS+" or later", "%s runs NATS %s: after an alarm the live consumer cannot be reset, and is made anew", where, version)
	default:
		return ok("connection", "%s, NATS %s%s", where, version, clusterOf(cluster))
	}
}

func roundTripTook(rtt time.Duration) finding {
	if rtt > slowRTT {
		return warn("round trip", "run the service near its NATS: each event takes two round trips at least", "%s", rtt.Round(time.Millisecond))
	}
	return ok("round trip", "%s", rtt.Round(10*time.Microsecond))
}

// roundTrip is the fastest of a few.
func (d *doctor) roundTrip(ctx context.Context) (time.Duration, error) {
	var best time.Duration
	for range 3 {
		began := time.Now()
		if err := d.nc.FlushWithContext(ctx); err != nil {
			return 0, fmt.Errorf("ask NATS for an answer: %w", err)
		}
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

func (d *doctor) transport() finding {
	if state, err := d.nc.TLSConnectionState(); err == nil {
		until := time.Time{}
		if len(state.PeerCertificates) > 0 {
			until = state.PeerCertificates[0].NotAfter
		}
		return certificate("NATS TLS", fmt.Sprintf("encrypted; the server's certificate is good until %s", shortTime(until)), until)
	}
	return unencrypted(d.nc.ConnectedUrl())
}

// unencrypted judges a connection without TLS by where it goes.
func unencrypted(server string) finding {
	if u, err := url.Parse(server); err == nil && isLoopback(u.Hostname()) {
		return ok("NATS TLS", "none, and none is needed on this machine")
	}
	return warn("NATS TLS", "give NATS a certificate, and tls:// in --nats-url", "the connection is not encrypted: events, which hold what people answered, cross the network in the open")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// certificateSoon is when somebody should have renewed a certificate.
const certificateSoon = 14 * 24 * time.Hour

// certificate judges how long one is still good for.
func certificate(about, what string, until time.Time) finding {
	if left := time.Until(until); !until.IsZero() && left < certificateSoon {
		return warn(about, "have it renewed", "%s, in %s", what, spoken(left))
	}
	return ok(about, "%s", what)
}

func clusterOf(name string) string {
	if name == "" {
		return ", a single server"
	}
	return ", cluster " + name
}

// atLeast compares versions like 2.15.2.
func atLeast(have, want string) bool {
	var h, w [2]int
	_, _ = fmt.Sscanf(have, "%d.%d", &h[0], &h[1])
	_, _ = fmt.Sscanf(want, "%d.%d", &w[0], &w[1])
	return h[0] > w[0] || h[0] == w[0] && h[1] >= w[1]
}

// checkJetStream asks what the account may store, and arranges the layout by it.
func (d *doctor) checkJetStream(ctx context.Context) ([]finding, error) {
	l, err := arrange(ctx, d.js, d.settings)
	if err != nil {
		return nil, err
	}
	d.layout = l
	info, err := d.js.AccountInfo(ctx)
	if err != nil {
		return nil, err
	}
	var found []finding
	switch used, limit := info.Store, info.Limits.MaxStore; {
	case limit <= 0:
		found = append(found, ok("store", "%s used; the account has no limit of its own, the server's disk and max_file_store bound it", size(used)))
	default:
		found = append(found, filled("store", used, limit, "raise the account's limit, or keep less history"))
	}
	return append(found, payload(d.nc.MaxPayload(), int64(d.settings.Delivery.EventMaxBytes))), nil
}

// payload judges whether the largest events fit into a message.
func payload(largest, event int64) finding {
	if room := largest - headerRoom; event > room {
		return fail("max_payload", fmt.Sprintf("lower --event-max-bytes to %d, or raise max_payload on NATS", room),
			"NATS takes messages of %d bytes: events of %d bytes, with headers, do not fit, and the service does not start", largest, event)
	}
	return ok("max_payload", "%s: events of %s fit", size(largest), size(event))
}

// filled judges how full something is.
func filled(about string, used uint64, limit int64, do string) finding {
	percent := used * 100 / uint64(limit) //nolint:gosec // above 0
	what := fmt.Sprintf("%s of %s used (%d %%)", size(used), size(limit), percent)
	switch {
	case percent >= fullFail:
		return fail(about, do, "%s", what)
	case percent >= fullWarn:
		return warn(about, do, "%s", what)
	default:
		return ok(about, "%s", what)
	}
}

// size is a number of bytes for people.
func size[N int64 | uint64](n N) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x := float64(n)
	for x >= 1023.95 && len(units) > 1 {
		x, units = x/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[0])
}

// checkSetUp compares everything on the bus with what the service wants.
func (d *doctor) checkSetUp(ctx context.Context) ([]finding, error) {
	report, err := provision.Run(ctx, d.js, d.layout, provision.DryRun, zerolog.Nop())
	if errors.As(err, new(*provision.Unfit)) || errors.As(err, new(*mark.Alarm)) {
		err = nil // the findings say it, and the mark's check
	}
	found := make([]finding, 0, len(report))
	for _, f := range report {
		is := setUp(f)
		if f.Kind == "consumer" {
			is = d.afterAlarm(is)
		}
		found = append(found, is...)
	}
	return found, err
}

// setUp judges one stream, bucket or consumer.
func setUp(f provision.Finding) (found []finding) {
	about := f.Kind + " " + f.Name
	if f.Verdict == provision.Created {
		return []finding{fail(about, "webhooks provision, or start the service", "is missing")}
	}
	for _, diff := range f.Differences {
		switch {
		case diff.Ours && diff.Fixed:
			found = append(found, fail(about, "it cannot be changed on what exists: set a prefix, or remove it if nothing needs it", "%s", diff))
		case diff.Ours:
			found = append(found, fail(about, "webhooks provision", "%s", diff))
		default:
			found = append(found, warn(about, "nothing, if its owner meant it", "%s: its owner's choice", diff))
		}
	}
	if found == nil {
		return []finding{ok(about, "is there, set up as it should be")}
	}
	return found
}

// checkClock compares this machine's clock with the server's, which stamps every
// event.
func (d *doctor) checkClock(ctx context.Context) ([]finding, error) {
	began := time.Now()
	stream, err := d.js.Stream(ctx, d.names.Stream())
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	return []finding{clock(stream.CachedInfo().TimeStamp.Sub(began.Add(took / 2)))}, nil
}

func clock(skew time.Duration) finding {
	const do = "synchronise the clocks (NTP) of this machine and of NATS"
	switch off := skew.Abs(); {
	case off >= skewFail:
		return fail("clock", do, "this machine's clock and the server's differ by %s: receivers refuse signatures by their time, and events are taken for other ones", off.Round(time.Millisecond))
	case off >= skewWarn:
		return warn("clock", do, "this machine's clock and the server's differ by %s", off.Round(time.Millisecond))
	default:
		return ok("clock", "this machine's and the server's differ by %s", off.Round(time.Millisecond))
	}
}

// checkStreams looks at how full streams are, and at their copies.
func (d *doctor) checkStreams(ctx context.Context) (found []finding, err error) {
	for _, s := range []struct{ name, do string }{
		{d.names.Stream(), ""},
		{d.names.Lanes(), "see what waits with: webhooks lanes; when it is full, events stay unacknowledged in the event stream"},
		{d.names.DeadLetters(), "redrive or purge some: webhooks dead-letters; when it is full, what should become one stays unacknowledged"},
		{d.names.Attempts(), ""},
	} {
		stream, err := d.js.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // said already
		}
		if err != nil {
			return found, fmt.Errorf("look at stream %s: %w", s.name, err)
		}
		info := stream.CachedInfo()
		found = append(found, filling(info, s.do))
		found = append(found, copies(info, d.nc.ConnectedClusterName() != "")...)
	}
	return found, nil
}

// checkSync asks the monitoring endpoints how their servers sync: clients are not
// told.
func (d *doctor) checkSync(ctx context.Context) (found []finding, err error) {
	monitors := d.settings.NATS.Monitors()
	switch {
	case len(monitors) > 0:
	case d.nc.ConnectedServerName() == natsd.ServerName && d.nc.ConnectedClusterName() == "":
		return []finding{ok("sync", "the service's own NATS syncs every write before it acknowledges it")}, nil
	default:
		return []finding{warn("sync", "set jetstream { sync_interval: always } on every node, and give their monitoring addresses with --nats-monitor http://HOST:8222 to have it checked",
			"whether NATS syncs every write cannot be seen from here: where it does not, a power failure loses events it has acknowledged")}, nil
	}
	for _, m := range monitors {
		s, err := bus.SyncOf(ctx, m)
		found = append(found, syncing(config.RedactServers(m), s, err))
	}
	return found, nil
}

// syncing judges what one monitoring endpoint says.
func syncing(monitor string, s bus.Sync, err error) finding {
	switch {
	case err != nil:
		return warn("sync", "check --nats-monitor: it names the monitoring address (http_port) of each node", "whether NATS syncs every write could not be checked: %s", err)
	case !s.Always:
		return warn("sync", "set jetstream { sync_interval: always } on that node",
			"the node at %s syncs every %s: a power failure of several nodes loses the events acknowledged since", monitor, s.Interval)
	default:
		return ok("sync", "the node at %s syncs every write before it acknowledges it", monitor)
	}
}

// filling says what a stream holds, and how far back. One that drops its oldest
// messages by itself may be full.
func filling(info *jetstream.StreamInfo, do string) finding {
	about, state := info.Config.Name, info.State
	limit := info.Config.MaxBytes
	kept := "kept without a limit of age"
	if info.Config.MaxAge > 0 {
		kept = "kept for " + spoken(info.Config.MaxAge)
	}
	if state.Msgs > 0 {
		kept += ", the oldest is of " + shortTime(state.FirstTime)
	}
	switch {
	case limit <= 0 && info.Config.Discard == jetstream.DiscardNew:
		return warn(about, "webhooks provision sets a limit where it knows the size of the store", "%s, %s; no limit of size: it may fill the whole store", count(state.Msgs, "message"), kept)
	case limit <= 0:
		return ok(about, "%s, %s, %s", count(state.Msgs, "message"), size(state.Bytes), kept)
	case info.Config.Discard == jetstream.DiscardNew:
		f := filled(about, state.Bytes, limit, do)
		f.What += ", " + kept
		return f
	default:
		return ok(about, "%s, %s of %s, %s", count(state.Msgs, "message"), size(state.Bytes), size(limit), kept)
	}
}

// copies looks at the servers that hold a stream.
func copies(info *jetstream.StreamInfo, clustered bool) (found []finding) {
	about := info.Config.Name
	if !clustered {
		return nil
	}
	if info.Config.Replicas < 3 {
		found = append(found, warn(about, "set --replicas 3 and run: webhooks provision", "%s on a cluster: it is away while that server is", count(info.Config.Replicas, "copy of it")))
	}
	if info.Cluster == nil {
		return found
	}
	if info.Cluster.Leader == "" {
		found = append(found, fail(about, "look at the cluster's servers", "it has no leader: nothing can be stored"))
	}
	for _, r := range info.Cluster.Replicas {
		switch {
		case r.Offline:
			found = append(found, fail(about, "look at that server", "the copy on %s is offline", r.Name))
		case !r.Current:
			found = append(found, warn(about, "look again in a minute", "the copy on %s is %d writes behind", r.Name, r.Lag))
		}
	}
	return found
}
