package consumer

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// way is one way on which events come from the event stream: the live consumer's,
// or a replay's. Each has an in-flight map of its own, because a message is settled
// with the consumer that delivered it.
type way struct {
	replay   string // the replay's id; empty on the live one
	inflight *inflight

	// meant says whether an event is one of those that are wanted here; nil means all. Of one
	// that cannot be read e is the zero value, and only the survey in its subject is known.
	meant   func(subject events.Survey, e events.Event) bool
	counted func(outcome string, published time.Time) // nil: they are counted elsewhere
}

func (w *way) count(outcome string, published time.Time) {
	if w.counted != nil {
		w.counted(outcome, published)
	}
}

// arrival is one message and the way it came.
type arrival struct {
	jetstream.Msg
	*jetstream.MsgMetadata

	way  *way
	hand *hand // whose turn it is; nil when it needs none
}

// ways are those that are open.
type ways struct {
	mu   sync.Mutex // guards open
	open map[*way]struct{}
}

func (w *ways) add(one *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[*way]struct{}{}
	}
	w.open[one] = struct{}{}
}

func (w *ways) remove(one *way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, one)
}

// eachWay calls f for every open way.
func (c *Consumer) eachWay(f func(*way)) {
	c.ways.mu.Lock()
	open := slices.Collect(maps.Keys(c.ways.open))
	c.ways.mu.Unlock()
	for _, w := range open {
		f(w)
	}
}

// replayed says whether a replay of a survey's events is open here. Every replica works
// on every replay, so it is open in the others as well.
func (c *Consumer) replayed(survey events.Survey) (found bool) {
	c.eachWay(func(w *way) { found = found || w.replay != "" && w.meant(survey, events.Event{}) })
	return found
}

// countLive counts an event that the live consumer has let go.
func (c *Consumer) countLive(outcome string, published time.Time) {
	if outcome == outcomeDelivered {
		c.metrics.delivered(published)
		return
	}
	c.metrics.settled[outcome].Inc()
}
