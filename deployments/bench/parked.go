package main

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/layout"
)

// parked is what of the healthy surveys' events took the way over a lane.
type parked struct {
	Counted int    // of those that count
	Warm    int    // during the warm-up
	InLanes int    // still there
	Unsure  uint64 // records that the delivery log has dropped: any of them may have been one
}

// parked reads the delivery log and the lanes. The i-th event has the sequence
// i+1.
func (g *rig) parked(ctx context.Context) (p parked, err error) {
	names := layout.Layout{}.Names
	for r, err := range deliverylog.Read(ctx, g.js, names, deliverylog.Filter{Kinds: []deliverylog.Kind{deliverylog.KindParked, deliverylog.KindDropped}}) {
		if err != nil {
			return p, err
		}
		p.Unsure += r.Records
		if i, err := surveyIndex(string(r.Survey)); err != nil || g.s.kind(i) != healthy {
			continue
		}
		for _, run := range r.Runs {
			p.count(run, uint64(g.s.first())) //nolint:gosec // never negative
		}
	}
	p.InLanes, err = g.healthyInLanes(ctx)
	return p, err
}

func (p *parked) count(run deliverylog.Run, first uint64) {
	for seq := run.From; seq <= run.To; seq++ {
		if seq > first {
			p.Counted++
		} else {
			p.Warm++
		}
	}
}

func (g *rig) healthyInLanes(ctx context.Context) (n int, err error) {
	stream, err := g.js.Stream(ctx, layout.Layout{}.Names.Lanes())
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return 0, err
	}
	for subject, count := range info.State.Subjects {
		i, err := surveyIndex(subject[strings.LastIndexByte(subject, '.')+1:])
		if err == nil && g.s.kind(i) == healthy {
			n += int(count) //nolint:gosec // there are not so many
		}
	}
	return n, nil
}
