package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/consumer/mark"
)

// checkMark compares our own record of how far the live consumer had come with
// where it stands.
func (d *doctor) checkMark(ctx context.Context) ([]finding, error) {
	alarm, err := mark.Check(ctx, d.js, d.layout)
	if err != nil {
		return nil, err
	}
	p, known, err := mark.Read(ctx, d.js, d.names)
	if err != nil {
		return nil, err
	}
	d.alarm, d.settled = alarm, p
	return []finding{marked(alarm, p, known, time.Now())}, nil
}

func marked(alarm *mark.Alarm, p mark.Position, known bool, now time.Time) finding {
	switch {
	case alarm != nil:
		return fail("mark", alarm.Hint()+"; see it first with --dry-run, and WebhooksStoppedByAlarm in deployments/runbook.md", "an alarm stands, and nothing is delivered: %s", alarm.What)
	case !known:
		return warn("mark", "start the service: webhooks run", "there is none: the service has never run here")
	default:
		return ok("mark", "all settled up to sequence %d, noted %s", p.Floor, ago(p.At, now))
	}
}

// afterAlarm says of findings that an alarm explains what goes before everything else.
func (d *doctor) afterAlarm(found []finding) []finding {
	for i := range found {
		if d.alarm != nil && found[i].Grade != gradeOK {
			found[i].Do = "decide about the alarm first: " + d.alarm.Command
		}
	}
	return found
}

// checkLive looks at what all replicas pull from.
func (d *doctor) checkLive(ctx context.Context) ([]finding, error) {
	stream, err := d.js.Stream(ctx, d.names.Stream())
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", d.names.Stream(), err)
	}
	cons, err := stream.Consumer(ctx, d.names.Consumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil // the set-up says so
	}
	if err != nil {
		return nil, fmt.Errorf("look at consumer %s: %w", d.names.Consumer(), err)
	}
	info := *cons.CachedInfo()
	if d.alarm != nil && d.settled.Created.Equal(layout.Born(stream.CachedInfo())) {
		info.AckFloor.Stream = d.settled.Floor // its own was lost
	}
	return d.afterAlarm(live(stream.CachedInfo(), &info, time.Now())), nil
}

func live(stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo, now time.Time) (found []finding) {
	const about = "live consumer"
	switch most := info.Config.MaxAckPending; {
	case most > 0 && info.NumAckPending >= most:
		found = append(found, fail(about, "look at the replicas' logs, and at: webhooks status", "%d events are in hand, as many as may be: no more are given out", info.NumAckPending))
	case info.NumWaiting == 0 && info.NumPending > 0 && info.NumAckPending == 0:
		found = append(found, fail(about, "start the service: webhooks run; or look at its log", "%s not given to any replica, and no replica asks", count(info.NumPending, "event")))
	default:
		found = append(found, ok(about, "%d not yet given to a replica, %d in hand", info.NumPending, info.NumAckPending))
	}
	return append(found, timeLeft(stream, info, now))
}

// timeLeft judges how soon events are lost when nothing changes. A stream that keeps
// little is not at its end whenever something is in hand.
func timeLeft(stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo, now time.Time) finding {
	const about = "time left"
	cfg, short := stream.Config, shortLeft
	if cfg.MaxAge > 0 {
		short = min(short, cfg.MaxAge/2)
	}
	left := consumer.TimeLeft(stream, info, now)
	switch {
	case stream.State.Msgs == 0 || info.NumPending == 0 && info.NumAckPending == 0:
		return ok(about, "nothing in the event stream waits to be settled")
	case left < short:
		return fail(about, "find out why it is not delivered: webhooks status; or let the event stream keep more (max_age, max_bytes)",
			"the oldest unsettled event leaves the event stream, and is lost, in %s", spoken(left))
	case cfg.MaxAge <= 0 && cfg.MaxBytes <= 0:
		return ok(about, "without end: the event stream drops nothing by age or size")
	case left == math.MaxInt64:
		return ok(about, "not known before more was published: the event stream is bounded by size alone")
	default:
		return ok(about, "the oldest unsettled event stays in the event stream for another %s", spoken(left))
	}
}

// checkEndpoints reads the bucket as every replica does.
func (d *doctor) checkEndpoints(ctx context.Context) ([]finding, error) {
	began := time.Now()
	kv, err := d.bucket(ctx, d.names.Endpoints())
	if err != nil {
		return nil, err
	}
	n, err := countKeys(ctx, kv)
	if err != nil {
		return nil, err
	}
	return []finding{ok("endpoints", "%s, watched through in %s", count(n, "endpoint"), time.Since(began).Round(time.Millisecond))}, nil
}

// checkHealth reads the bucket of what is wrong with endpoints.
func (d *doctor) checkHealth(ctx context.Context) ([]finding, error) {
	var v unwellView
	for e, err := range health.List(ctx, d.js, d.names) {
		if err != nil {
			return nil, err
		}
		switch {
		case e.Disabled != nil:
			v.Disabled++
		case e.Failing():
			v.Failing++
		}
		if e.OwedFrom != 0 {
			v.Owed++
		}
	}
	return []finding{wellness(v)}, nil
}

func wellness(v unwellView) finding {
	if v == (unwellView{}) {
		return ok("health", "no endpoint is known to fail")
	}
	return warn("health", "see: webhooks lanes", "endpoints%s", v)
}

// checkReplicas looks at who lives and who holds the shards of the lanes.
func (d *doctor) checkReplicas(ctx context.Context) ([]finding, error) {
	p, err := leases.Look(ctx, d.js, d.names)
	if err != nil {
		return nil, err
	}
	return fleet(p, p.Free(d.names), d.names.ShardCount()), nil
}

func fleet(p leases.Picture, free []int, shards int) (found []finding) {
	if len(p.Replicas) == 0 {
		return []finding{fail("replicas", "start one with: webhooks run", "none lives: nothing is delivered")}
	}
	var versions, alive []string
	for _, r := range p.Replicas {
		alive = append(alive, r.ID)
		if !slices.Contains(versions, r.Version) {
			versions = append(versions, r.Version)
		}
		found = append(found, ok("replicas", "%s, version %s, holds %s", r.ID, r.Version, count(p.Held(r.ID), "shard")))
	}
	if len(versions) > 1 {
		found = append(found, warn("replicas", "finish the upgrade", "they run different versions: %s", strings.Join(versions, ", ")))
	}
	gone := map[string]int{}
	for _, h := range p.Holders {
		if !slices.Contains(alive, h.Replica) {
			gone[h.Replica]++
		}
	}
	for replica, n := range gone {
		found = append(found, warn("leases", "look again in 20 seconds: what is not renewed is forgotten", "%s held by %s, which does not live any more", isOrAre(n, "shard"), replica))
	}
	if len(free) > 0 {
		return append(found, warn("leases", "look again in 20 seconds: a replica that starts or leaves explains it; if they stay free, look at the replicas' logs",
			"%d of %d shards have no owner: what waits in their lanes is not tried", len(free), shards))
	}
	return append(found, ok("leases", "all %d shards have an owner", shards))
}

func isOrAre(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return fmt.Sprintf("%d %ss are", n, noun)
}

// checkHere asks the replica on this machine, which alone knows whether its watches
// are fresh.
func (d *doctor) checkHere(ctx context.Context) ([]finding, error) {
	r := (&statusCommand{Admin: d.settings.Admin.Listen}).ask(ctx)
	found := here(r, d.settings.Admin.Listen)
	if r != nil && r.Reason != "" {
		found = d.afterAlarm(found)
	}
	return found, nil
}

// here judges what a replica says of itself; nil is one that does not answer.
func here(r *replicaState, address string) []finding {
	switch {
	case r == nil:
		return []finding{warn("this machine", "run it where a replica runs, or name one with --admin-listen; on every replica /readyz says it, and the alert WebhooksEndpointsStale",
			"no replica answers at %s: whether replicas' views of endpoints are current cannot be seen from here", address)}
	case r.Reason != "":
		return []finding{fail("this machine", cmp.Or(r.Do, "look at its log; what lasts longer than a minute stands under WebhooksNotReady in deployments/runbook.md"), "the replica at %s is %s: %s", r.Address, r.Status, r.Reason)}
	}
	found := []finding{ok("this machine", "the replica at %s is %s: its view of endpoints is current", r.Address, r.Status)}
	for _, warning := range r.Warnings {
		found = append(found, warn("this machine", "leave that setting away unless it is meant", "%s", warning))
	}
	return found
}

// dropsSince is how far back the log is read for what it has lost. Reading all of
// it would take minutes where much is delivered.
const dropsSince = 15 * time.Minute

// checkLog looks for records that the log has lost. A log too long to be read in
// the time of a check says so.
func (d *doctor) checkLog(ctx context.Context) ([]finding, error) {
	const about = "delivery log"
	if may, err := d.may(ctx, "$JS.API.CONSUMER.CREATE."+d.names.Attempts()+".doctor"); err != nil || !may {
		return []finding{ok(about, "not readable with these credentials: a replica only writes it; its metric webhooks_delivery_log_dropped_total tells")}, err
	}
	now, lost := time.Now(), uint64(0)
	f := deliverylog.Filter{Kinds: []deliverylog.Kind{deliverylog.KindDropped}, Since: now.Add(-dropsSince)}
	for r, err := range deliverylog.Read(ctx, d.js, d.names, f) {
		switch {
		case errors.As(err, new(*deliverylog.Unreadable)):
		case err != nil && ctx.Err() != nil:
			return []finding{warn(about, "look at the metric webhooks_delivery_log_dropped_total", "too long to be read for losses within %s", checkTime)}, nil
		case err != nil:
			return nil, err
		default:
			lost += r.Records
		}
	}
	return []finding{logLost(lost)}, nil
}

func logLost(records uint64) finding {
	const about = "delivery log"
	if records > 0 {
		return warn(about, "attempts went on; see which events: webhooks attempts --all --since 15m", "%s lost within the last %s", count(records, "record"), spoken(dropsSince))
	}
	return ok(about, "lost nothing within the last %s", spoken(dropsSince))
}
