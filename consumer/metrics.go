package consumer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
)

// namespace begins every metric's name.
const namespace = "webhooks"

// latencyBuckets, in seconds, reach from a healthy delivery (half a
// millisecond) over the 5 s of one attempt to an event that waited.
var latencyBuckets = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300}

// metrics are what the live consumer counts. Every label is from a closed set.
type metrics struct {
	attempts    map[delivery.Reason]prometheus.Counter // looked up once at the start, so that the hot path hashes no label set; never written after
	attemptTime prometheus.Histogram
	latency     prometheus.Histogram
	settled     map[string]prometheus.Counter
	refused     map[admit.Refusal]prometheus.Counter
	redelivered prometheus.Counter
	reacked     prometheus.Counter
	ackErrors   prometheus.Counter
	acksDropped prometheus.Counter
	rebinds     prometheus.Counter
	unsealable  prometheus.Counter
	inFlight    prometheus.Gauge
	lag         prometheus.Gauge
	ackPending  prometheus.Gauge
	lost        prometheus.Gauge
	lostEver    prometheus.Counter
	timeLeft    prometheus.Gauge
	alarm       prometheus.Gauge
	resolver    prometheus.Counter
	replayEnds  map[replay.Outcome]prometheus.Counter
	replays     prometheus.Gauge
	yielding    prometheus.Gauge
	buried      prometheus.Counter
	unusable    prometheus.Counter
	noCustody   map[action]prometheus.Counter // by what could not be done
	slots       prometheus.Gauge
	looked      prometheus.Gauge
	waiting     waitingMetrics
}

// The outcomes of the settled counter.
const (
	outcomeDelivered  = "delivered"
	outcomeNoEndpoint = "no_webhook"
	outcomeDead       = "dead"
	outcomeParked     = "parked" // waits in its survey's lane
	outcomeOwed       = "owed"   // brought into that lane later, from the event stream
	outcomeLeft       = "left"   // unacknowledged: comes again

	// On replays alone.
	outcomeSkipped = "skipped"  // of another survey or response than asked for
	outcomeLeftOut = "left_out" // its endpoint fails or is busy, and its lane has no room
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{attempts: map[delivery.Reason]prometheus.Counter{}, settled: map[string]prometheus.Counter{}}
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "attempts_total", Help: "Requests sent to endpoints, by how they ended.",
	}, []string{"reason"})
	for _, r := range delivery.Reasons() {
		m.attempts[r] = attempts.WithLabelValues(string(r))
	}
	settled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "events_total", Help: "Events the live consumer has let go, by outcome.",
	}, []string{"outcome"})
	for _, o := range []string{outcomeDelivered, outcomeNoEndpoint, outcomeDead, outcomeParked, outcomeOwed, outcomeLeft} {
		m.settled[o] = settled.WithLabelValues(o)
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "attempts_refused_total", Help: "Attempts that admission did not let begin, by why.",
	}, []string{"reason"})
	m.refused = map[admit.Refusal]prometheus.Counter{}
	for _, r := range admit.Refusals() {
		m.refused[r] = refused.WithLabelValues(string(r))
	}
	replayed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "replay_events_total", Help: "Events that replays have let go, by outcome.",
	}, []string{"outcome"})
	m.replayEnds = map[replay.Outcome]prometheus.Counter{}
	for _, o := range replay.Outcomes() {
		m.replayEnds[o] = replayed.WithLabelValues(string(o))
	}
	m.attemptTime = histogram("attempt_duration_seconds", "How long one request took, DNS to the end of the response.")
	m.latency = histogram("publish_to_delivered_seconds", "From an event's publication to its 2xx.")
	m.redelivered = counter("redelivered_total", "Messages delivered again by the server while their attempt was running.")
	m.reacked = counter("reacknowledged_total", "Messages delivered again after they were settled: acknowledged again, not sent again.")
	m.ackErrors = counter("ack_errors_total", "Acknowledgements that could not be sent because NATS was away.")
	m.acksDropped = counter("acks_dropped_total", "Acknowledgements that were not kept for when NATS is back, because too many waited already: their events come again.")
	m.rebinds = counter("consumer_rebinds_total", "Times the watchdog bound the consumer anew because nothing arrived in spite of lag.")
	m.unsealable = counter("unsealable_secrets_total", "Times an event had to wait because its endpoint's secret cannot be opened with our key ring; it rises for as long as that lasts.")
	m.inFlight = gauge("in_flight", "Messages in hand.")
	m.lag = gauge("lag_events", "Events in the stream that were not yet given to any replica.")
	m.ackPending = gauge("ack_pending_events", "Events given to some replica and not yet settled.")
	m.lost = gauge("left_unsettled_events", "Events that left the event stream before they were settled, at most (since the consumer's floor).")
	m.lostEver = counter("left_unsettled_total", "Events that left the event stream, by its limits or a purge, between two looks without having been settled at the first, at most.")
	m.timeLeft = gauge("unsettled_time_left_seconds", "Time until the oldest unsettled event leaves the event stream; some 292 years while nothing waits.")
	m.alarm = gauge("stopped_by_alarm", "1 while the live consumer has stopped by itself and waits for a person.")
	m.resolver = counter("name_service_failures_total", "Attempts that failed because the name service fails for many hosts at once.")
	m.replays = gauge("replays_running", "Replays that this replica works on.")
	m.yielding = gauge("replays_yielding", "1 while replays wait because the live consumer is behind.")
	m.buried = counter("dead_letters_total", "Events that became dead letters, from the event stream or from a lane.")
	m.unusable = counter("unusable_endpoint_events_total", "Times an event had to wait because its endpoint's settings are not valid; it rises for as long as that lasts.")
	custody := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "custody_failures_total",
		Help: "Events that could not be stored in their lane or as a dead letter, and so stay in the event stream, by where they should have gone.",
	}, []string{"to"})
	m.noCustody = map[action]prometheus.Counter{actPark: custody.WithLabelValues("lane"), actBury: custody.WithLabelValues("dead_letter")}
	m.slots = gauge("slots", "Messages that this replica may have in hand at once.")
	m.looked = gauge("last_look_timestamp_seconds", "When the lag and the mark were last seen, in Unix seconds; 0 is never.")
	m.waiting = newWaitingMetrics(reg)
	reg.MustRegister(replayed, m.replays, m.yielding, m.unsealable, m.buried, m.unusable, custody, m.slots, m.looked, m.resolver, attempts, settled, refused, m.attemptTime, m.latency, m.redelivered, m.reacked, m.ackErrors, m.acksDropped, m.rebinds,
		m.inFlight, m.lag, m.ackPending, m.lost, m.lostEver, m.timeLeft, m.alarm)
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: latencyBuckets})
}

// attempted counts one attempt.
func (m *metrics) attempted(a delivery.Attempt) {
	m.attempts[a.Reason].Inc()
	m.attemptTime.Observe(a.Took.Seconds())
}

// replayed counts one event of a replay.
func (m *metrics) replayed(o replay.Outcome) { m.replayEnds[o].Inc() }

// delivered counts one event that got its 2xx.
func (m *metrics) delivered(published time.Time) {
	m.settled[outcomeDelivered].Inc()
	m.latency.Observe(time.Since(published).Seconds())
}
