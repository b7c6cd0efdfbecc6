package deliverylog

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the log counts of itself.
type metrics struct {
	written prometheus.Counter
	dropped prometheus.Counter
	flush   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const namespace, subsystem = "webhooks", "delivery_log"
	m := &metrics{
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "written_total",
			Help: "Attempts and settled events whose record the delivery log confirmed.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "dropped_total",
			Help: "Attempts and settled events whose record was dropped, or could not be confirmed.",
		}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "flush_seconds",
			Help:    "From emptying the buffers to the last confirmation.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 5, 10},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.written, m.dropped, m.flush)
	}
	return m
}
