package replays

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/popsee/webhooks/cmd/webhooks/internal/search"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// Plan is a replay that could be started.
type Plan struct {
	Record replay.Record // but for its count of events
	Notes  []string      // what was asked for and cannot be sent, for whoever starts it
}

// Plan works out what a request means as things stand. The error is a [Refused], a
// [mark.Alarm] while nobody knows what is settled, or NATS'.
func (d *Desk) Plan(ctx context.Context, q Request) (Plan, error) {
	surveys, err := q.check()
	if err != nil {
		return Plan{}, err
	}
	if err := d.connected(ctx, surveys); err != nil {
		return Plan{}, err
	}
	now := time.Now()
	b, err := d.bounds(ctx, q.Since, q.Until, now)
	if err != nil {
		return Plan{}, err
	}
	r := replay.Record{
		Format: events.Format, ID: replay.NewID(), By: q.By, At: now.UTC(), Reason: q.Reason, StreamCreated: b.created, Start: b.start, End: b.end,
		Surveys: surveys, Response: q.Response, Rate: q.Rate, State: replay.Running, Since: now.UTC(),
	}
	if q.Key != "" {
		r.ID, r.Key, r.Asked = replay.IDOf(q.Key), q.Key, q.digest()
	}
	if q.Response != "" {
		r, err = d.aim(ctx, r)
	}
	return Plan{Record: r, Notes: b.notes}, err
}

// askedAtOnce is how many endpoints are read at once: a thousand one after the other
// would take longer than anybody waits, where NATS is far.
const askedAtOnce = 32

// connected refuses surveys that nothing would be sent for. Of several it names the
// first.
func (d *Desk) connected(ctx context.Context, surveys []events.Survey) error {
	editor, err := asked(ctx, d.editor)
	if err != nil {
		return err
	}
	var asking errgroup.Group
	asking.SetLimit(askedAtOnce)
	var enough atomic.Bool
	found := make([]error, len(surveys))
	for i, survey := range surveys {
		if enough.Load() {
			break
		}
		asking.Go(func() error {
			found[i] = (*panics.Guard)(nil).Try(panics.PlaceAdmin, func() error { return connectedOne(ctx, editor, survey) })
			if found[i] != nil {
				enough.Store(true)
			}
			return nil
		})
	}
	_ = asking.Wait() // what was found is in found, in its order
	return cmp.Or(found...)
}

func connectedOne(ctx context.Context, editor *config.Editor, survey events.Survey) error {
	_, err := asked(ctx, func(ctx context.Context) (config.Endpoint, error) { return editor.Get(ctx, survey) })
	switch {
	case errors.Is(err, config.ErrNoEndpoint):
		return refuse(NoEndpoint, string(survey), "survey %s has no endpoint: nothing would be sent", survey)
	case err != nil && !errors.Is(err, config.ErrInvalidEndpoint):
		return err
	}
	return nil
}

// aim finds a response, so that nothing else has to be read by the service.
func (d *Desk) aim(ctx context.Context, r replay.Record) (replay.Record, error) {
	var survey events.Survey
	if len(r.Surveys) == 1 {
		survey = r.Surveys[0]
	}
	found, err := d.stream().Response(ctx, survey, r.Response)
	if err != nil {
		return r, err
	}
	found = slices.DeleteFunc(found, func(p search.Place) bool {
		return p.NoEvent != "" || p.Sequence < r.Start || p.Sequence > r.End || len(r.Surveys) > 0 && !slices.Contains(r.Surveys, p.Survey)
	})
	if len(found) == 0 {
		return r, refuse(NoResponse, r.Response, "response %s is not among the events of sequence %d to %d", r.Response, r.Start, r.End)
	}
	r.Surveys = nil
	for _, p := range found {
		r.Surveys = append(r.Surveys, p.Survey)
	}
	slices.Sort(r.Surveys)
	r.Surveys = slices.Compact(r.Surveys)
	bySequence := func(a, b search.Place) int { return cmp.Compare(a.Sequence, b.Sequence) }
	r.Start, r.End = slices.MinFunc(found, bySequence).Sequence, slices.MaxFunc(found, bySequence).Sequence
	return r, d.connected(ctx, r.Surveys)
}
