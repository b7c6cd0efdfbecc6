package main

import (
	"context"
	"fmt"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/events"
)

// whereabouts is where on the bus events stand that were not delivered, at one
// look: first what is owed, then what waits, then what is dead, because that is the
// way events go. What is delivered is to be asked after it.
type whereabouts struct {
	floor uint64 // of the live consumer: everything up to here was let go by it
	first uint64 // of the event stream
	owed  map[events.Survey]health.Record
	lane  map[int]bool
	dead  map[int]string // event -> the reason its letter gives
	stray []string       // dead letters of events that nobody published, or that do not say which
}

// lookTime bounds one look.
const lookTime = 20 * time.Second

func (d *deployment) whereabouts(ctx context.Context) (w whereabouts, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	w = whereabouts{owed: map[events.Survey]health.Record{}, lane: map[int]bool{}, dead: map[int]string{}}
	if w.floor, w.first, err = d.floor(ctx); err != nil {
		return w, err
	}
	for e, err := range health.List(ctx, d.js, names) {
		if err != nil {
			return w, fmt.Errorf("read the health of endpoints: %w", err)
		}
		w.owed[e.Survey] = e.Record
	}
	for s, err := range lanes.All(ctx, d.js, names, "") {
		if err != nil {
			return w, fmt.Errorf("read the lanes: %w", err)
		}
		if i, ours := d.ledger.index(s.EventID); ours {
			w.lane[i] = true
		}
	}
	for l, err := range deadletters.New(d.js, names).List(ctx, deadletters.Filter{}) {
		if err != nil {
			return w, fmt.Errorf("read the dead letters: %w", err)
		}
		if i, ours := d.ledger.index(l.EventID); ours {
			w.dead[i] = l.Reason
			continue
		}
		w.stray = append(w.stray, fmt.Sprintf("%q (%s, sequence %d of %s)", l.EventID, l.Reason, l.Source, l.Stream))
	}
	return w, nil
}

// floor is the live consumer's, and the first sequence of the event stream.
func (d *deployment) floor(ctx context.Context) (floor, first uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	stream, err := d.js.Stream(ctx, names.Stream())
	if err != nil {
		return 0, 0, err
	}
	cons, err := stream.Consumer(ctx, names.Consumer())
	if err != nil {
		return 0, 0, err
	}
	return cons.CachedInfo().AckFloor.Stream, stream.CachedInfo().State.FirstSeq, nil
}
