package checks

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// shown are the alerts that a fault has made fire on real metrics.
var shown sync.Map

func proved(alert string) { shown.Store(alert, true) }

// TestEachAlertFiresOnARealFault starts real services, lets happen what each alert
// warns of, and has promtool decide on what was scraped whether it fires: the
// expressions, their durations and their thresholds are those of the file.
func TestEachAlertFiresOnARealFault(t *testing.T) {
	t.Run("faults", func(t *testing.T) {
		for name, fault := range map[string]func(*testing.T){
			"a healthy service is left in peace":    nothingHappens,
			"more events than are delivered":        moreThanIsDelivered,
			"events and endpoints that are no good": noGood,
			"a secret that no key opens":            sealedElsewhere,
			"streams that are full or gone":         streamsFullOrGone,
			"names that cannot be resolved":         namesThatCannotBeResolved,
			"a cluster that falls apart":            clusterFallsApart,
			"a consumer and buckets that are gone":  placeIsLost,
			"mistakes of the program's own":         mistakesOfOurOwn,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fault(t)
			})
		}
	})
	for _, a := range alerts(t) {
		if _, done := shown.Load(a.Alert); !done {
			t.Errorf("no fault has made %s fire", a.Alert)
		}
	}
}

// nothingHappens but a replica's death at the end.
func nothingHappens(t *testing.T) {
	s := start(t, options{})
	first := s.awaitReady()
	s.endpoint("s1", owner(t, func(http.ResponseWriter, *http.Request) {}), true)
	s.publish("s1", 20, 100)
	next := s.await("everything delivered", func(got scraped) bool { return got.value("webhooks_events_total") == 20 })
	last := s.await("described again", func(got scraped) bool {
		return got.value("webhooks_streams_seen_timestamp_seconds") > next.value("webhooks_streams_seen_timestamp_seconds") &&
			got.value("webhooks_last_look_timestamp_seconds") > next.value("webhooks_last_look_timestamp_seconds")
	})
	if got := firing(t, s.admin, first, next, last); len(got) > 0 {
		t.Errorf("on a healthy service fire %v", got)
	}
	s.kill()
	s.wantFiring(last, s.scrape(), "WebhooksMissing", "WebhooksReplicaDown")
}

// moreThanIsDelivered gives one slot to an endpoint that takes four seconds, and
// then lets the event stream hold less than what waits.
func moreThanIsDelivered(t *testing.T) {
	s := start(t, options{args: []string{"--max-in-flight", "1", "--history", "1h"}})
	first := s.awaitReady()
	s.endpoint("slow", owner(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(4 * time.Second):
		case <-r.Context().Done():
		}
	}), true)
	s.publish("slow", 1200, 10)
	last := s.await("a backlog and a full hand", func(got scraped) bool {
		return got.value("webhooks_lag_events") > 1000 && got.value("webhooks_in_flight") == 1 && got.value("webhooks_unsettled_time_left_seconds") < 3600
	})
	s.wantFiring(first, last, "WebhooksBacklog", "WebhooksSaturated", "WebhooksEventsAboutToLeave")

	stream, err := s.bus().Stream(t.Context(), events.Names{}.Stream())
	if err != nil {
		t.Fatal(err)
	}
	small := stream.CachedInfo().Config
	small.MaxMsgs = 10
	if _, err := s.bus().UpdateStream(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	last = s.await("events left", func(got scraped) bool { return got.value("webhooks_left_unsettled_events") > 0 })
	s.wantFiring(first, last, "WebhooksEventsLeft")
}

// noGood publishes what is no event, for an endpoint that is none, and for many
// whose servers are gone.
func noGood(t *testing.T) {
	s := start(t, options{})
	first := s.awaitReady()
	if _, err := s.bus().Publish(t.Context(), "responses.completed.s1", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	s.put("unusable", []byte(`{"url":"https://hooks.example.com/","enabled":true,"no_such_setting":1}`))
	s.publish("unusable", 1, 10)
	gone := "http://" + freeAddress(t) + "/"
	for n := range 12 {
		survey := fmt.Sprint("stranger-", n)
		s.endpoint(survey, gone+survey, true)
		s.publish(survey, 6, 10)
	}
	last := s.await("a dead letter, an unusable endpoint and twelve that fail", func(got scraped) bool {
		return got.value("webhooks_dead_letters_total") > 0 && got.value("webhooks_unusable_endpoint_events_total") > 0 && got.value("webhooks_endpoints_failing") == 12
	})
	s.wantFiring(first, last, "WebhooksDeadLetters", "WebhooksEndpointsUnusable", "WebhooksManyEndpointsFail")
	wantBoundedLabels(t, last, "stranger", "127.0.0.1")
}

// sealedElsewhere has one event wait for a secret that was sealed with another ring's
// key. When nothing has arrived for a while, its lane alone tells of it.
func sealedElsewhere(t *testing.T) {
	s := start(t, options{})
	s.awaitReady()
	key, err := config.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := config.NewKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := delivery.NewSecret("sealed with a key of another ring")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ring.Seal("elsewhere", secret)
	if err != nil {
		t.Fatal(err)
	}
	value, err := config.Endpoint{Survey: "elsewhere", URL: "https://hooks.example.com/", Enabled: true, Secrets: []config.SealedSecret{sealed}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.put("elsewhere", value)
	s.publish("elsewhere", 1, 10)
	arrived := s.await("an event that is parked", func(got scraped) bool {
		return got.value("webhooks_unsealable_secrets_total") > 0 && got.value("webhooks_lane_events") == 1 && got.value("webhooks_in_flight") == 0
	})
	last := s.await("told of again and again", func(got scraped) bool {
		return got.value("webhooks_unsealable_secrets_total") >= arrived.value("webhooks_unsealable_secrets_total")+2
	})
	if n := last.value("webhooks_unusable_endpoint_events_total"); n != 0 {
		t.Errorf("%v times the settings were taken for not valid", n)
	}
	s.wantFiring(arrived, last, "WebhooksEndpointsUnusable")
}

// streamsFullOrGone fills the lanes of an endpoint that is switched off, then the
// rest of the store, and lets another stream take the delivery log's subjects.
func streamsFullOrGone(t *testing.T) {
	s := start(t, options{args: []string{"--max-store", "64MiB"}})
	first := s.awaitReady()
	s.endpoint("off", "https://hooks.example.com/", false)
	s.publish("off", 40, 400_000) // 16 MB, and the lanes hold a fifth of 64 MiB
	last := s.await("lanes full, and events that do not fit", func(got scraped) bool {
		return got.value("webhooks_custody_failures_total") > 0 && got.value("webhooks_stream_bytes") > 20e6
	})
	s.wantFiring(first, last, "WebhooksStreamNearlyFull", "WebhooksCustodyFails")

	js := s.bus()
	fill(t, js, 32)
	attempts := events.Names{}.Attempts()
	if err := js.DeleteStream(t.Context(), attempts); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "THIEF", Subjects: []string{"webhooks.attempts.*"}}); err != nil {
		t.Fatal(err)
	}
	s.endpoint("on", owner(t, func(http.ResponseWriter, *http.Request) {}), true)
	s.publish("on", 5, 10)
	next := s.await("a store that is nearly full, and a log with gaps", func(got scraped) bool {
		return got.value("webhooks_delivery_log_dropped_total") > 0 && got.value("webhooks_store_bytes") > 0.86*got.value("webhooks_store_limit_bytes")
	})
	// The streams were described a moment ago without the one that is gone; they are
	// not described again.
	time.Sleep(16 * time.Second)
	last = s.scrape()
	if last.value("webhooks_streams_seen_timestamp_seconds") != next.value("webhooks_streams_seen_timestamp_seconds") {
		next = last
		time.Sleep(16 * time.Second)
		last = s.scrape()
	}
	got := firing(t, s.admin, first, next, last)
	if slices.Contains(got, "WebhooksLagUnknown") {
		t.Error("WebhooksLagUnknown fires, and the lag is looked at all the time")
	}
	s.wantFiring(first, last, "WebhooksStoreNearlyFull", "WebhooksDeliveryLogDrops", "WebhooksStreamsUnseen")
	if !slices.Contains(got, "WebhooksStreamsUnseen") {
		t.Errorf("WebhooksStreamsUnseen does not fire; what fires: %v", got)
	}
}

// fill puts n messages of 900 KB into a stream that is not the service's.
func fill(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}}); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := js.Publish(t.Context(), "filler", make([]byte, 900_000)); err != nil {
			t.Fatal(err)
		}
	}
}

// namesThatCannotBeResolved runs the binary in a folder that holds nothing but a
// resolver's address at which nobody answers.
func namesThatCannotBeResolved(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", "resolv.conf"), []byte("nameserver 127.0.0.254\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := start(t, options{root: root})
	first := s.awaitReady()
	for survey := range strings.FieldsSeq("a b c d e f g") {
		s.endpoint(survey, "https://"+survey+".example.com/", true)
		s.publish(survey, 1, 10)
	}
	last := s.await("a name service that fails", func(got scraped) bool { return got.value("webhooks_name_service_failures_total") > 0 })
	s.wantFiring(first, last, "WebhooksNameServiceFails")
}

// clusterFallsApart runs a replica on the cluster that is shipped, fills the lanes and
// then the account's store, and takes away one node and then the others.
func clusterFallsApart(t *testing.T) {
	nodes := cluster(t, clusterConf, 3)
	s := start(t, options{nats: urls(nodes), args: []string{"--nats-monitor", nodes[0].monitor + "," + nodes[1].monitor + "," + nodes[2].monitor}})
	first := s.awaitReady()
	s.wantWarned(false)
	if got := firing(t, s.admin, first, first, first); slices.Contains(got, "WebhooksStoreLimitUnknown") || first.value("webhooks_store_limit_bytes") != accountLimit {
		t.Errorf("the account's limit is taken for %v, want %d; what fires: %v", first.value("webhooks_store_limit_bytes"), accountLimit, got)
	}
	s.endpoint("off", "https://hooks.example.com/", false)
	s.publish("off", 40, 400_000) // 16 MB, and the lanes hold a fifth of each node's 64 MB
	last := s.await("lanes that are full", func(got scraped) bool {
		return got.value("webhooks_custody_failures_total") > 0 && got.value("webhooks_stream_bytes") > 27e6
	})
	s.wantFiring(first, last, "WebhooksStreamNearlyFull")
	fill(t, s.bus(), 100)
	last = s.await("a store that is nearly full", func(got scraped) bool { return got.value("webhooks_store_bytes") > 0.86*accountLimit })
	s.wantFiring(first, last, "WebhooksStoreNearlyFull")

	nodes[2].kill()
	last = s.await("copies behind", func(got scraped) bool { return got.value("webhooks_stream_peers_behind") > 0 })
	s.wantFiring(first, last, "WebhooksStreamCopiesBehind")
	nodes[1].kill()
	nodes[0].kill()
	next := s.await("a replica without NATS", func(got scraped) bool {
		return got.value("webhooks_nats_connected") == 0 && got.value("webhooks_ready") == 0
	})
	time.Sleep(3 * time.Second) // three looks at the mark that bring nothing
	last = s.scrape()
	if got := firing(t, s.admin, first, next, last); !slices.Contains(got, "WebhooksLagUnknown") {
		t.Errorf("WebhooksLagUnknown does not fire; what fires: %v", got)
	}
	s.wantFiring(first, last, "WebhooksNATSAway", "WebhooksNotReady", "WebhooksLagUnknown")
}

// placeIsLost runs a replica on a server that nobody has configured, and takes the
// event stream, the leases and the endpoints from under it.
func placeIsLost(t *testing.T) {
	server := alone(t)
	s := start(t, options{nats: server.url, args: []string{"--nats-monitor", server.monitor, "--event-max-bytes", "512KiB"}}) // a plain server takes messages of 1 MiB
	first := s.awaitReady()
	s.wantWarned(true)
	s.wantFiringAtOnce(first, "WebhooksStoreLimitUnknown")
	js, names := s.bus(), events.Names{}
	stream, err := js.Stream(t.Context(), names.Stream())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), names.Stream()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	last := s.await("stopped by an alarm", func(got scraped) bool { return got.value("webhooks_stopped_by_alarm") == 1 })
	s.wantFiring(first, last, "WebhooksStoppedByAlarm")

	for _, bucket := range []string{names.Leases(), names.Endpoints()} {
		if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	server.kill() // after a reconnect a replica looks whether it still knows everything
	server.boot()
	last = s.await("shards without an owner, and endpoints that may be old", func(got scraped) bool {
		return got.value("webhooks_shards_held") < got.value("webhooks_shards") && got.value("webhooks_nats_connected") == 1 && got.value("webhooks_endpoints_current") == 0
	})
	s.wantFiring(first, last, "WebhooksShardsWithoutOwner", "WebhooksEndpointsStale")
}
