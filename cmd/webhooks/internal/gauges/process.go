package gauges

import (
	"math"
	"runtime"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/delivery/panics"
)

const namespace = "webhooks"

// Process is what is asked of the process at each scrape. Every function must
// answer from memory.
type Process struct {
	Version   string // of the program
	Ready     func() error
	Conn      *nats.Conn
	Endpoints func() int  // how many there are
	Unloaded  func() int  // how many of them are past the bound of those in memory
	Current   func() bool // whether they are known to be up to date
	Panics    *panics.Guard
}

// Register shows the process on /metrics.
func (p Process) Register(reg prometheus.Registerer) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with the program's version and Go's in the labels.",
		ConstLabels: prometheus.Labels{"version": p.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	reg.MustRegister(build,
		p.asked("ready", "1 while the replica delivers, as /readyz says; 0 otherwise.", func() float64 { return truth(p.Ready() == nil) }),
		p.asked("nats_connected", "1 while the connection to NATS stands.", func() float64 { return truth(p.Conn.Status() == nats.CONNECTED) }),
		p.asked("endpoints", "Endpoints there are, valid or not.", func() float64 { return float64(p.Endpoints()) }),
		p.asked("endpoints_unloaded", "Endpoints past --max-endpoints: NATS is asked for them when their events come.", func() float64 { return float64(p.Unloaded()) }),
		p.asked("endpoints_current", "1 while the endpoints in memory are known to be what the bucket holds.", func() float64 { return truth(p.Current()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Name: "nats_reconnects_total", Help: "Times the connection to NATS was made again.",
		}, p.guarded(func() float64 { return float64(p.Conn.Stats().Reconnects) })),
	)
}

// asked is a gauge that asks when it is scraped.
func (p Process) asked(name, help string, ask func() float64) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, p.guarded(ask))
}

// guarded asks in a goroutine of the collector's, which catches nothing.
func (p Process) guarded(ask func() float64) func() float64 {
	return func() (v float64) {
		defer p.Panics.Catch(panics.PlaceMetrics, func(*panics.Panic) { v = math.NaN() })
		return ask()
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
