package config

import (
	"context"
	"sync"

	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// Change says that the endpoint of a survey is not what it was.
type Change struct {
	Survey   events.Survey
	Revision uint64 // of the endpoint as it is now, or of its removal as far as known
	Removed  bool
}

// notifier tells watchers what has changed. Changes wait in it, the newest of
// each survey, so that a slow watcher never holds up the bucket's watch.
type notifier struct {
	panics *panics.Guard

	mu       sync.Mutex // guards all below
	watchers map[int]func(Change)
	next     int
	waiting  map[events.Survey]Change
	order    []events.Survey

	wake chan struct{} // capacity one: there is something waiting
}

func newNotifier(guard *panics.Guard) *notifier {
	return &notifier{panics: guard, watchers: map[int]func(Change){}, waiting: map[events.Survey]Change{}, wake: make(chan struct{}, 1)}
}

func (n *notifier) add(f func(Change)) (cancel func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := n.next
	n.next++
	n.watchers[id] = f
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watchers, id)
	}
}

func (n *notifier) tell(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.watchers) == 0 {
		return
	}
	if _, ok := n.waiting[c.Survey]; !ok {
		n.order = append(n.order, c.Survey)
	}
	n.waiting[c.Survey] = c
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run calls the watchers, from this goroutine alone, until ctx ends.
func (n *notifier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		changes, watchers := n.take()
		for _, c := range changes {
			for _, f := range watchers {
				n.panics.Do(panics.PlaceChange, func() { f(c) })
			}
		}
	}
}

func (n *notifier) take() ([]Change, []func(Change)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes := make([]Change, len(n.order))
	for i, s := range n.order {
		changes[i] = n.waiting[s]
	}
	n.order = nil
	clear(n.waiting)
	watchers := make([]func(Change), 0, len(n.watchers))
	for _, f := range n.watchers {
		watchers = append(watchers, f)
	}
	return changes, watchers
}
