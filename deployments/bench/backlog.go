package main

import (
	"context"
	"math"
	"time"
)

// A backlog is compared with itself: a shared machine is a fifth faster or slower from one
// minute to the next, and hardly from one second to the next.
const (
	stretches     = 30
	warmStretches = 9 // not counted: hanging endpoints are found out after five seconds
)

// publishBacklog publishes everything before the consumer starts: provisioning has
// made the live consumer already, so that nothing of it is passed over.
func (r *run) publishBacklog(ctx context.Context) (err error) {
	if !r.service() {
		if _, err := r.g.js.CreateConsumer(ctx, eventStream, plainConfig()); err != nil {
			return err
		}
	}
	r.o.Publication, err = r.g.publish(ctx, func() error { return nil })
	r.began = time.Now()
	return err
}

// rate is how many healthy events of a backlog arrived a second, from the first
// of them to the last.
func (o outcome) rate() float64 {
	if took := o.Arrivals.Last - o.Arrivals.First; took > 0 {
		return float64(o.Arrivals.Healthy) / took * 1000
	}
	return 0
}

// besideHealthy is how fast healthy events come in stretches with failing endpoints,
// against those without: the mean over every two neighbours; 0 where nothing can be said.
func besideHealthy(rates []float64) float64 {
	sum, n := 0.0, 0
	for i := warmStretches; i+1 < len(rates); i++ {
		mixed, healthy := rates[i], rates[i+1]
		if i%2 == 1 {
			mixed, healthy = healthy, mixed
		}
		if mixed == 0 || healthy == 0 {
			return 0
		}
		sum, n = sum+math.Log(mixed/healthy), n+1
	}
	if n == 0 {
		return 0
	}
	return math.Exp(sum / float64(n))
}
