package main

import (
	"context"

	"github.com/popsee/webhooks/cmd/webhooks/internal/gauges"
	"github.com/popsee/webhooks/cmd/webhooks/internal/tracing"
)

// openTracing exports spans where the OTEL_* variables ask for it.
func (v *service) openTracing(ctx context.Context) error {
	traces, err := tracing.Open(ctx, tracing.Options{Env: v.env, Version: programVersion(), Replica: v.replica, Log: v.log})
	if err != nil {
		return usage{err}
	}
	if traces == nil {
		return nil
	}
	v.traces = traces
	v.closers.Push("trace exporter", closeTime, func(ctx context.Context) error {
		if err := traces.Close(ctx); err != nil {
			v.log.Warn().Err(err).Msg("the last spans could not be exported")
		}
		return nil // the collector's trouble is not the service's
	})
	v.log.Info().Msg("exporting spans over OTLP")
	return nil
}

// openGauges shows on /metrics what is asked of the process. It comes before the
// admin listener, so that a replica that does not come up is seen not to be ready.
func (v *service) openGauges(context.Context) error {
	gauges.Process{
		Version: programVersion(), Ready: v.isReady, Conn: v.nc,
		Endpoints: func() int {
			if v.ready.Load() == nil {
				return 0
			}
			return v.store.Len()
		},
		Unloaded: func() int {
			if v.ready.Load() == nil {
				return 0
			}
			return v.store.Unloaded()
		},
		Current: func() bool {
			if v.ready.Load() == nil {
				return false
			}
			current, _ := v.store.Current()
			return current
		},
	}.Register(v.metrics)
	return nil
}

// openStreams shows on /metrics how full the streams are.
func (v *service) openStreams(ctx context.Context) error {
	streams := gauges.NewStreams(v.js, v.layout.Names, v.layout.StoreBytes, v.metrics)
	asking, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		streams.Run(asking)
	}()
	v.closers.Push("stream gauges", closeTime, func(context.Context) error {
		stop()
		<-done
		return nil
	})
	return nil
}
