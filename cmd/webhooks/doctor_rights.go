package main

import (
	"context"
	"fmt"

	"github.com/popsee/webhooks/events"
)

// right is something that an account has to be allowed for the service to work.
type right struct {
	subject string // to publish to
	use     string // what the service needs it for
}

// rights lists what the service publishes to. Each subject stands for those beside
// it that a sensible list of permissions names together.
func rights(n events.Names) []right {
	api := func(format string, args ...any) string { return "$JS.API." + fmt.Sprintf(format, args...) }
	replaying := n.ReplayConsumer("doctor")
	all := []right{
		{api("INFO"), "starting"},
		{api("CONSUMER.CREATE.%s.doctor", n.Stream()), "making the live consumer, and readers of the event stream"},
		{api("CONSUMER.INFO.%s.%s", n.Stream(), n.Consumer()), "watching the live consumer"},
		{api("CONSUMER.MSG.NEXT.%s.%s", n.Stream(), n.Consumer()), "taking events"},
		{api("CONSUMER.CREATE.%s.%s", n.Stream(), replaying), "beginning replays"},
		{api("CONSUMER.INFO.%s.%s", n.Stream(), replaying), "seeing how far a replay has come"},
		{api("CONSUMER.MSG.NEXT.%s.%s", n.Stream(), replaying), "taking the events of replays"},
		{api("CONSUMER.DELETE.%s.%s", n.Stream(), replaying), "removing the consumers of replays that have ended"},
		{api("CONSUMER.DELETE.%s.doctor", n.Stream()), "removing its readers"},
		{"$JS.ACK." + n.Stream() + ".doctor", "acknowledging events"},
		{api("CONSUMER.CREATE.%s.doctor", n.Lanes()), "reading lanes"},
		{api("CONSUMER.MSG.NEXT.%s.doctor", n.Lanes()), "reading lanes"},
		{api("STREAM.MSG.GET.%s", n.Stream()), "knowing where the event stream ends"},
		{api("STREAM.MSG.GET.%s", n.Lanes()), "reading what waits"},
		{api("DIRECT.GET.%s", n.Lanes()), "reading what waits on a single server"},
		{api("STREAM.MSG.DELETE.%s", n.Lanes()), "removing what was delivered"},
		{api("STREAM.PURGE.%s", n.Lanes()), "removing what was delivered"},
		{n.LaneSubject("doctor"), "parking events"},
		{n.DeadSubject("doctor"), "burying dead letters"},
		{n.AttemptsSubject(0), "writing the delivery log"},
	}
	for _, stream := range []string{n.Stream(), n.Lanes(), n.DeadLetters(), n.Attempts()} {
		all = append(all, right{api("STREAM.INFO.%s", stream), "looking at stream " + stream})
	}
	all = append(all, right{api("STREAM.MSG.GET.KV_%s", n.Endpoints()), "being certain that a survey has no webhook"})
	for _, bucket := range []string{n.State(), n.Endpoints(), n.Health(), n.Replicas(), n.Leases(), n.Replays()} {
		all = append(all,
			right{api("STREAM.INFO.KV_%s", bucket), "looking at bucket " + bucket},
			right{api("DIRECT.GET.KV_%s.$KV.%s.doctor", bucket, bucket), "reading bucket " + bucket})
		if bucket != n.State() {
			all = append(all, right{api("CONSUMER.CREATE.KV_%s.doctor", bucket), "watching bucket " + bucket})
		}
		if bucket != n.Endpoints() {
			all = append(all, right{"$KV." + bucket + ".doctor", "writing bucket " + bucket})
		}
	}
	return all
}

// spareRights lists what it publishes to without which everything is delivered all the same.
func spareRights(n events.Names) []right {
	return []right{{"$JS.API.STREAM.PURGE.KV_" + n.Health(), "removing what endpoints that work again have left"}}
}

// checkPermissions tries each right and changes nothing.
func (d *doctor) checkPermissions(ctx context.Context) ([]finding, error) {
	d.lacking = map[string]bool{}
	needed, spare := rights(d.names), spareRights(d.names)
	found, err := d.missing(ctx, needed, fail)
	if err != nil {
		return found, err
	}
	more, err := d.missing(ctx, spare, warn)
	found = append(found, more...)
	if err == nil && len(found) == 0 {
		return []finding{ok("permissions", "all %d rights that were tried", len(needed)+len(spare))}, nil
	}
	return found, err
}

// missing tries rights, and says what it means that one is missing.
func (d *doctor) missing(ctx context.Context, rights []right, say func(about, do, format string, args ...any) finding) (found []finding, err error) {
	for _, r := range rights {
		may, err := d.may(ctx, r.subject)
		if err != nil {
			return found, err
		}
		if !may {
			d.lacking[r.subject] = true
			found = append(found, say("permissions", "let the service's user publish to it; examine with the credentials that the service has",
				"these credentials may not publish to %s, which the service needs for %s", r.subject, r.use))
		}
	}
	return found, nil
}
