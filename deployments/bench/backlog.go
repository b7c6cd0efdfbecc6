package main

import (
	"context"
	"time"
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

// figure is what a scenario is compared by.
func (o outcome) figure(s scenario) float64 {
	if s.Backlog {
		return o.rate()
	}
	return o.Arrivals.P99
}
