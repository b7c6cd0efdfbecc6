package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// reasonRedriven is why a redriven event waits in its lane.
const reasonRedriven = "redriven"

// handBack hands dead letters back to their lanes. It is safe for concurrent use.
type handBack struct {
	*session
	editor   *config.Editor
	maxBytes int
	since    time.Time // when the event stream was made: sequences of before mean other events
	room     *lanes.Rooms

	mu    sync.Mutex              // guards what follows
	known map[events.Survey]error // survey -> whether it can take events: nil, or a refusal
	off   []events.Survey         // those whose owner has switched the endpoint off

	asking singleflight.Group // one question a survey at once
}

// refusal is why a letter is not handed back.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func refuse(hint, format string, args ...any) error {
	return &refusal{withHint(hint, format, args...)}
}

// newHandBack hands nothing back yet; in a rehearsal nothing is ever parked.
func newHandBack(ctx context.Context, s *session, maxBytes int, rehearsal bool) (*handBack, error) {
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return nil, err
	}
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", s.names.Stream(), err)
	}
	return &handBack{
		session: s, editor: config.NewEditor(kv, endpoints.Lenient()), maxBytes: maxBytes, since: layout.Born(stream.CachedInfo()),
		room: lanes.NewRooms(s.js, s.names, lanes.RoomOptions{Rehearsal: rehearsal}), known: map[events.Survey]error{},
	}, nil
}

// park stores a letter's event in its lane.
func (h *handBack) park(ctx context.Context, l deadletters.Letter) error {
	w, err := h.placed(ctx, l)
	if err != nil {
		return err
	}
	err = lanes.Park(ctx, h.js, h.names, w)
	if errors.Is(err, lanes.ErrFull) {
		return withHint("see what fills it with: webhooks lanes", "%w", err)
	}
	return err
}

// placed is the event of a letter with a place taken in its lane. As of a replay, as
// much goes there as leaves half of it to live events: an endpoint's letters may be
// many times what its lane is to hold.
func (h *handBack) placed(ctx context.Context, l deadletters.Letter) (lanes.Waiting, error) {
	w, err := h.waiting(ctx, l)
	if err != nil {
		return w, err
	}
	room, err := h.room.Take(ctx, w.Survey, len(w.Body))
	if err == nil && !room {
		err = refuse("run the same again when the lane has drained; how far it is: webhooks lanes --survey "+string(w.Survey),
			"the lane of survey %s has no room for it: one half takes what is sent again, the other is left to new events", w.Survey)
	}
	return w, err
}

// waiting is the event of a letter as it waits in its lane: under its own id, and
// its own place in the event stream, by which its lane recognises it.
func (h *handBack) waiting(ctx context.Context, l deadletters.Letter) (lanes.Waiting, error) {
	e, err := h.decode(l)
	if err != nil {
		return lanes.Waiting{}, err
	}
	if l.Stream != h.names.Stream() || l.Published.Before(h.since) {
		return lanes.Waiting{}, refuse(fmt.Sprintf("webhooks dead-letters show %d --raw | webhooks publish -", l.Sequence),
			"it comes from another event stream, whose places mean other events here: publish it anew")
	}
	if err := h.takes(ctx, e.Survey); err != nil {
		return lanes.Waiting{}, err
	}
	return lanes.Waiting{
		Survey: e.Survey, EventID: e.ID, Source: l.Source, Published: l.Published, Parked: time.Now(),
		Attempts: l.Attempts, First: l.First, Last: l.Last,
		Reason: reasonRedriven, DueNow: true, Traceparent: l.Traceparent, Tracestate: l.Tracestate, Body: l.Body,
	}, nil
}

// decode reads the event anew: a letter of before may lack what a panic kept
// from being read, and what never was an event does not become one.
func (h *handBack) decode(l deadletters.Letter) (events.Event, error) {
	e, err := h.eventOf(l, h.maxBytes)
	if bad, ok := errors.AsType[*events.BadEvent](err); ok {
		return e, refuse(fmt.Sprintf("look at it with: webhooks dead-letters show %d; publish a mended one with: webhooks publish", l.Sequence),
			"it is not an event that can be delivered: %w", bad)
	}
	return e, err
}

// eventOf decodes the event of a letter with its body.
func (s *session) eventOf(l deadletters.Letter, maxBytes int) (events.Event, error) {
	subject := s.names.Subjects()[0]
	if l.Survey != "" {
		subject = s.names.Subject(l.Survey)
	}
	return s.names.DecodeMax(subject, nil, l.Body, maxBytes)
}

// takes says whether a survey's endpoint could take an event. What is found out
// holds for all of a survey's letters; that it could not be found out holds for
// none but those that asked together.
func (h *handBack) takes(ctx context.Context, survey events.Survey) error {
	h.mu.Lock()
	err, known := h.known[survey]
	h.mu.Unlock()
	if known {
		return err
	}
	_, err, _ = h.asking.Do(string(survey), func() (any, error) {
		err := h.ask(ctx, survey)
		if err == nil || errors.As(err, new(*refusal)) {
			h.mu.Lock()
			h.known[survey] = err
			h.mu.Unlock()
		}
		return nil, err
	})
	return err
}

func (h *handBack) ask(ctx context.Context, survey events.Survey) error {
	ep, err := h.editor.Get(ctx, survey)
	if errors.Is(err, config.ErrNoEndpoint) {
		return refuse(fmt.Sprintf("webhooks endpoint set %s --url https://…", survey), "survey %s has no endpoint now: it would only become a dead letter again", survey)
	}
	if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
		return err
	}
	off := err == nil && !ep.Enabled
	r, known, err := health.Look(ctx, h.js, h.names, survey)
	if err == nil && known && r.Disabled != nil {
		return refuse("webhooks endpoint enable "+string(survey), "the endpoint of survey %s is disabled, %s: nothing is sent to it", survey, r.Disabled.Why)
	}
	if err == nil && off {
		h.mu.Lock()
		h.off = append(h.off, survey)
		h.mu.Unlock()
	}
	return err
}
