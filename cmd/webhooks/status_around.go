package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/formats"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/consumer/replay"
)

// waitingView is what waits in all lanes.
type waitingView struct {
	Events uint64    `json:"events"`
	Lanes  uint64    `json:"lanes"`
	Bytes  uint64    `json:"stored_bytes"` // headers included
	Oldest time.Time `json:"oldest_parked,omitzero"`
	Survey string    `json:"oldest_survey,omitempty"` // whose that is
}

func (v waitingView) words(now time.Time) string {
	if v.Events == 0 {
		return "nothing"
	}
	words := fmt.Sprintf("%s in %s", count(v.Events, "event"), count(v.Lanes, "lane"))
	if !v.Oldest.IsZero() {
		words += fmt.Sprintf(", longest since %s, for survey %s", ago(v.Oldest, now), v.Survey)
	}
	return words + "; see: webhooks lanes"
}

// unwellView counts endpoints with which something is wrong.
type unwellView struct {
	Failing  int `json:"failing"`
	Disabled int `json:"disabled"`
	Owed     int `json:"owed"` // events that their lanes could not hold are owed to so many
}

// String is what follows the number of all endpoints.
func (v unwellView) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{v.Failing, "failing"}, {v.Disabled, "disabled"}, {v.Owed, "owed events beside their lane"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if parts == nil {
		return ", none known to fail"
	}
	return ": " + strings.Join(parts, ", ")
}

// fleetView is who works.
type fleetView struct {
	Replicas []replicaView `json:"replicas"`
	Free     []int         `json:"shards_without_owner,omitempty"`
	Shards   int           `json:"shards"`
}

type replicaView struct {
	leases.Replica

	Shards int `json:"shards"`
}

func (v fleetView) lines(now time.Time) (lines []healthLine) {
	name := "replicas"
	for _, r := range v.Replicas {
		since := ""
		if !r.Started.IsZero() {
			since = ", started " + ago(r.Started, now)
		}
		lines = append(lines, healthLine{name, fmt.Sprintf("%s, version %s%s, holds %s", r.ID, r.Version, since, count(r.Shards, "shard"))})
		name = ""
	}
	switch free := len(v.Free); {
	case len(v.Replicas) == 0:
		lines = append(lines, healthLine{"replicas", "none: nothing is delivered; start one with: webhooks run"})
	case free > 0:
		lines = append(lines, healthLine{"warning", fmt.Sprintf(
			"%d of %d shards have no owner: their lanes wait; look again in 20 seconds, a leaving or starting replica explains it", free, v.Shards)})
	}
	return lines
}

// around looks at what stands around the live consumer.
func (s *session) around(ctx context.Context, v *statusView) error {
	unwell, err := s.unwell(ctx)
	if err != nil {
		return err
	}
	for _, r := range unwell {
		switch {
		case r.Disabled != nil:
			v.Unwell.Disabled++
		case r.Failing():
			v.Unwell.Failing++
		}
		if r.OwedFrom != 0 {
			v.Unwell.Owed++
		}
	}
	letters, err := s.js.Stream(ctx, s.names.DeadLetters())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", s.names.DeadLetters(), err)
	}
	v.Letters = letters.CachedInfo().State.Msgs
	if v.Waiting, err = s.waiting(ctx); err != nil {
		return err
	}
	if v.Fleet, err = s.fleet(ctx); err != nil {
		return err
	}
	if v.Replays, err = s.openReplays(ctx); err != nil {
		return err
	}
	v.Newer, err = formats.Newer(ctx, s.js, s.names)
	return err
}

// leftWords says what a newer version wrote.
func leftWords(all []formats.Left) string {
	var parts []string
	for _, l := range all {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, ", ") + ": written by a newer version, left alone by this one"
}

// openReplays are the replays that have not ended. A service of before there were
// any has no bucket for them.
func (s *session) openReplays(ctx context.Context) ([]replay.Record, error) {
	all, err := replay.List(ctx, s.js, s.names)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	return slices.DeleteFunc(all, func(r replay.Record) bool { return r.State.Ended() }), err
}

// waiting looks at the lanes stream as a whole: counting lane by lane is what
// `webhooks lanes` does.
func (s *session) waiting(ctx context.Context) (waitingView, error) {
	stream, err := s.js.Stream(ctx, s.names.Lanes())
	if err != nil {
		return waitingView{}, fmt.Errorf("look at stream %s: %w", s.names.Lanes(), err)
	}
	state := stream.CachedInfo().State
	v := waitingView{Events: state.Msgs, Lanes: state.NumSubjects, Bytes: state.Bytes}
	if state.Msgs == 0 {
		return v, nil
	}
	for first, err := range lanes.All(ctx, s.js, s.names, "") {
		if err != nil {
			return v, err
		}
		v.Oldest, v.Survey = first.Parked, string(first.Survey)
		break
	}
	return v, nil
}

func (s *session) fleet(ctx context.Context) (fleetView, error) {
	p, err := leases.Look(ctx, s.js, s.names)
	v := fleetView{Replicas: []replicaView{}, Shards: s.names.ShardCount()}
	for _, r := range p.Replicas {
		v.Replicas = append(v.Replicas, replicaView{r, p.Held(r.ID)})
	}
	if len(v.Replicas) > 0 {
		v.Free = p.Free(s.names)
	}
	return v, err
}

// rateView is what went through the live consumer while it was watched.
type rateView struct {
	Seconds   float64 `json:"seconds"`
	Published float64 `json:"published_per_second"`
	Settled   float64 `json:"settled_per_second"` // acknowledged, or moved to a lane or to the dead letters
}

// String is the rate in words.
func (r rateView) String() string {
	return fmt.Sprintf("%.0f/s published, %.0f/s settled (delivered, without a webhook, or moved to a lane), over %s",
		r.Published, r.Settled, time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond))
}

// look is where stream and live consumer stand at one moment, by the server's
// clock.
type look struct {
	at        time.Time
	come      uint64 // grows by one with each event that comes
	unsettled uint64
}

// rate looks twice; nil when it is not to, or there is no live consumer.
func (s *session) rate(ctx context.Context, sample time.Duration) (*rateView, error) {
	if sample <= 0 {
		return nil, nil //nolint:nilnil // not watched: nothing, and nothing wrong
	}
	a, err := s.look(ctx)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil //nolint:nilnil // there is nothing to watch
	}
	if err != nil {
		return nil, err
	}
	pause := time.NewTimer(sample)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	b, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return rateOf(a, b), nil
}

func (s *session) look(ctx context.Context) (look, error) {
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return look{}, fmt.Errorf("look at stream %s: %w", s.names.Stream(), err)
	}
	cons, err := stream.Consumer(ctx, s.names.Consumer())
	if err != nil {
		return look{}, fmt.Errorf("look at consumer %s: %w", s.names.Consumer(), err)
	}
	info := cons.CachedInfo()
	return look{
		at: info.TimeStamp, come: come(stream.CachedInfo(), info), unsettled: info.NumPending + uint64(info.NumAckPending), //nolint:gosec // never negative
	}, nil
}

// come counts the events that have come. Where the stream holds other messages too, its
// sequences count those as well: there it is what the consumer has given out and what
// waits to be. One that is given out twice counts twice, which the server does not tell
// apart.
func come(stream *jetstream.StreamInfo, cons *jetstream.ConsumerInfo) uint64 {
	if len(layout.FiltersOf(cons.Config)) == 0 {
		return stream.State.LastSeq
	}
	return cons.Delivered.Consumer + cons.NumPending
}

// rateOf is what happened between two looks. What was settled is what came in and
// is not there any more; the ack floor would jump, and stand still whenever one
// event of many takes long.
func rateOf(a, b look) *rateView {
	seconds := b.at.Sub(a.at).Seconds()
	if seconds <= 0 {
		return nil
	}
	published := float64(b.come) - float64(a.come)
	settled := published - (float64(b.unsettled) - float64(a.unsettled))
	return &rateView{Seconds: seconds, Published: max(published, 0) / seconds, Settled: max(settled, 0) / seconds}
}
