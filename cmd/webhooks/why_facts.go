package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/cmd/webhooks/internal/search"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/events"
)

// gather finds out everything about one response. Each step needs what the ones
// before it have found; errNowhere says that none found anything.
func (s *session) gather(w *world, survey events.Survey, id string) (*facts, error) {
	f := &facts{id: id, survey: survey, stream: s.names.Stream()}
	bars := &phases{w: w}
	places, err := search.Stream{JS: s.js, Names: s.names, Progress: bars.step}.Response(w.ctx, survey, id)
	bars.end()
	if err != nil {
		return nil, err
	}
	f.take(places)
	for _, step := range []func(context.Context, *facts) error{s.findLetters, s.findWaiting, s.findTried} {
		if err := step(w.ctx, f); err != nil {
			return nil, err
		}
	}
	if f.sequence == 0 {
		return nil, errNowhere
	}
	for _, step := range []func(context.Context, *facts) error{s.readLog, s.lookAround, s.lookAtEndpoint} {
		if err := step(w.ctx, f); err != nil {
			return nil, err
		}
	}
	f.now = time.Now()
	return f, nil
}

// take takes over what was found in the event stream: the newest, and where the
// others are.
func (f *facts) take(places []search.Place) {
	for i, p := range places {
		if i < len(places)-1 {
			f.copies = append(f.copies, p.Sequence)
			continue
		}
		f.survey, f.sequence, f.published, f.noEvent = p.Survey, p.Sequence, p.Stored, p.NoEvent
	}
}

// is says whether something that knows an event's id or its place is this one.
func (f *facts) is(id string, source uint64) bool {
	if f.sequence == 0 {
		return id == f.id
	}
	return source == f.sequence && (id == f.id || id == "") // a stream made anew counts from 1 again
}

// from takes over from elsewhere what the event stream no longer has.
func (f *facts) from(survey events.Survey, source uint64, published time.Time) {
	if f.sequence == 0 {
		f.survey, f.sequence, f.published, f.gone = survey, source, published, true
	}
}

func (s *session) findLetters(ctx context.Context, f *facts) error {
	filters := []deadletters.Filter{{}}
	if f.survey != "" {
		filters = []deadletters.Filter{{Survey: f.survey}, {Unknown: true}}
	}
	store := deadletters.New(s.js, s.names)
	for _, filter := range filters {
		for l, err := range store.List(ctx, filter) {
			switch {
			case errors.As(err, new(*deadletters.Unreadable)):
			case err != nil:
				return err
			case f.is(l.EventID, l.Source):
				f.from(l.Survey, l.Source, l.Published)
				f.letters = append(f.letters, l)
				if f.gone {
					f.noEvent = s.noEvent(ctx, store, l)
				}
			}
		}
	}
	return nil
}

// noEvent says why a letter's body is no event; empty when it is one, or is not
// there.
func (s *session) noEvent(ctx context.Context, store *deadletters.Store, l deadletters.Letter) string {
	body, err := store.Body(ctx, l)
	if err != nil {
		return ""
	}
	l.Body = body
	_, err = s.eventOf(l, search.MaxEvent)
	return reasonOf(err)
}

func (s *session) findWaiting(ctx context.Context, f *facts) error {
	for one, err := range lanes.All(ctx, s.js, s.names, f.survey) {
		if err != nil {
			return err
		}
		if !one.Foreign && f.is(one.EventID, one.Source) {
			f.from(one.Survey, one.Source, one.Published)
			f.waiting = &one
		}
	}
	return nil
}

// findTried asks the delivery log, when nothing else knows the response.
func (s *session) findTried(ctx context.Context, f *facts) error {
	if f.sequence != 0 {
		return nil
	}
	for r, err := range deliverylog.Read(ctx, s.js, s.names, deliverylog.Filter{
		Survey: f.survey, EventID: f.id, Kinds: []deliverylog.Kind{deliverylog.KindAttempt},
	}) {
		if errors.As(err, new(*deliverylog.Unreadable)) {
			continue
		}
		if err != nil {
			return err
		}
		f.survey, f.sequence, f.gone = r.Survey, r.Source(), true
	}
	return nil
}

// clocks is by how much those of the server and of the replicas may differ.
const clocks = time.Minute

// readLog reads what the delivery log has of the event's place.
func (s *session) readLog(ctx context.Context, f *facts) error {
	stream, err := s.js.Stream(ctx, s.names.Attempts())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", s.names.Attempts(), err)
	}
	if state := stream.CachedInfo().State; state.FirstSeq > 1 {
		f.logFrom = state.FirstTime
	}
	filter := deliverylog.Filter{Survey: f.survey, Source: deliverylog.Run{From: f.sequence, To: f.sequence}}
	if !f.published.IsZero() {
		filter.Since = f.published.Add(-clocks)
	}
	for r, err := range deliverylog.Read(ctx, s.js, s.names, filter) {
		if errors.As(err, new(*deliverylog.Unreadable)) {
			continue
		}
		if err != nil {
			return err
		}
		if r.Kind != deliverylog.KindAttempt || r.EventID == f.id {
			f.records = append(f.records, r)
		}
	}
	return nil
}

// lookAround looks at what has to do with every event.
func (s *session) lookAround(ctx context.Context, f *facts) error {
	cons, err := s.js.Consumer(ctx, s.names.Stream(), s.names.Consumer())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
	case err != nil:
		return fmt.Errorf("look at consumer %s: %w", s.names.Consumer(), err)
	default:
		info := cons.CachedInfo()
		f.live = liveFacts{there: true, start: info.Config.OptStartSeq, delivered: info.Delivered.Stream, floor: info.AckFloor.Stream}
	}
	alarm, err := mark.Check(ctx, s.js, layout.Layout{Names: s.names})
	if err != nil {
		return err
	}
	if alarm != nil {
		f.alarm = alarm.Error()
	}
	p, err := leases.Look(ctx, s.js, s.names)
	f.replicas = len(p.Replicas)
	if f.survey != "" {
		_, f.owned = p.Holders[s.names.Shard(f.survey)]
	}
	return err
}

func (s *session) lookAtEndpoint(ctx context.Context, f *facts) error {
	if f.survey == "" {
		return nil
	}
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	if f.health, _, err = health.Look(ctx, s.js, s.names, f.survey); err != nil {
		return err
	}
	ep, err := config.NewEditor(kv, endpoints.Lenient()).Get(ctx, f.survey)
	switch {
	case errors.Is(err, config.ErrNoEndpoint):
		f.obstacle = noEndpoint
	case errors.Is(err, config.ErrInvalidEndpoint):
		f.obstacle = notValid
	case err != nil:
		return err
	case !ep.Enabled:
		f.obstacle = switchedOff
	case f.health.DisabledAt(ep.Revision):
		f.obstacle = givenUp
	}
	return nil
}
