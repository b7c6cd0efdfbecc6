// Package gauges shows on /metrics what nobody counts in passing: how full the
// streams are, and how the process itself stands.
package gauges

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/events"
)

// How often NATS is asked, and how long it may take to answer.
const (
	askEvery = 15 * time.Second
	askTime  = 5 * time.Second
)

// Streams are the service's streams as NATS last described them.
type Streams struct {
	js        jetstream.JetStream
	names     map[string]string // label -> stream
	messages  *prometheus.GaugeVec
	bytes     *prometheus.GaugeVec
	limit     *prometheus.GaugeVec
	behind    *prometheus.GaugeVec
	storeUsed prometheus.Gauge
	storeMost prometheus.Gauge
	seen      prometheus.Gauge
	most      int64 // of the store, in bytes, where the account says nothing; 0: unknown
}

// NewStreams registers the gauges. They say nothing before [Streams.Run]. most is what
// the store may hold, in bytes, where the account has no limit of its own; 0 is unknown.
func NewStreams(js jetstream.JetStream, names events.Names, most int64, reg prometheus.Registerer) *Streams {
	s := &Streams{
		js: js, most: most,
		names: map[string]string{
			"events": names.Stream(), "lanes": names.Lanes(), "dead_letters": names.DeadLetters(), "attempts": names.Attempts(),
		},
		messages:  vec("stream_messages", "Messages in each of the service's streams."),
		bytes:     vec("stream_bytes", "What each of the service's streams stores, in bytes."),
		limit:     vec("stream_limit_bytes", "What each of the service's streams may store, in bytes; not there for a stream without a limit."),
		behind:    vec("stream_peers_behind", "Copies of each stream that are offline or not current, or whose leader is unknown."),
		storeUsed: gauge("store_bytes", "What the account stores in JetStream, in bytes."),
		storeMost: gauge("store_limit_bytes", "What may be stored in JetStream, in bytes; 0 when the account has no limit and the server is not ours."),
		seen:      gauge("streams_seen_timestamp_seconds", "When NATS last described the streams, in Unix seconds; 0 is never."),
	}
	reg.MustRegister(s.messages, s.bytes, s.limit, s.behind, s.storeUsed, s.storeMost, s.seen)
	return s
}

func vec(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{"stream"})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

// Run asks NATS until ctx ends. What it cannot learn keeps its last value, and the
// time it was seen says how old that is.
func (s *Streams) Run(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		if s.ask(ctx) {
			s.seen.SetToCurrentTime()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask says whether everything was answered.
func (s *Streams) ask(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	all := true
	for label, name := range s.names {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			all = false
			continue
		}
		s.show(label, stream.CachedInfo())
	}
	account, err := s.js.AccountInfo(ctx)
	if err != nil {
		return false
	}
	s.storeUsed.Set(float64(account.Store))
	limit := account.Limits.MaxStore
	if limit <= 0 {
		limit = s.most
	}
	s.storeMost.Set(float64(limit))
	return all
}

func (s *Streams) show(label string, info *jetstream.StreamInfo) {
	s.messages.WithLabelValues(label).Set(float64(info.State.Msgs))
	s.bytes.WithLabelValues(label).Set(float64(info.State.Bytes))
	if limit := info.Config.MaxBytes; limit > 0 {
		s.limit.WithLabelValues(label).Set(float64(limit))
	} else {
		s.limit.DeleteLabelValues(label)
	}
	s.behind.WithLabelValues(label).Set(float64(peersBehind(info.Cluster)))
}

// peersBehind is 0 on a server that is no cluster.
func peersBehind(c *jetstream.ClusterInfo) (n int) {
	if c == nil {
		return 0
	}
	if c.Leader == "" {
		n++
	}
	for _, p := range c.Replicas {
		if p.Offline || !p.Current {
			n++
		}
	}
	return n
}
