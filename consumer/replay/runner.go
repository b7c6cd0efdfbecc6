package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"github.com/popsee/webhooks/consumer/internal/quiet"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	resyncEvery = 5 * time.Minute // a watch can go blind: after a bucket was made anew, for one
	rewatchWait = 5 * time.Second // after a watch that could not be opened
)

// Outcome is what became of one event of a replay. It is a metric label.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered"
	Parked    Outcome = "parked"
	Owed      Outcome = "owed"
	NoWebhook Outcome = "no_webhook"
	Dead      Outcome = "dead"
	Skipped   Outcome = "skipped"  // of another survey or response than asked for
	LeftOut   Outcome = "left_out" // its endpoint fails or is busy, and its lane has no room
	Repeated  Outcome = "repeated" // it was settled already, and came again
	Left      Outcome = "left"     // unacknowledged: it comes again
)

// Outcomes lists every outcome, for metrics.
func Outcomes() []Outcome {
	return []Outcome{Delivered, Parked, Owed, NoWebhook, Dead, Skipped, LeftOut, Repeated, Left}
}

// Result is how one event of a replay ended.
type Result struct {
	Outcome  Outcome
	Survey   events.Survey // empty when it cannot be known
	Sequence uint64        // in the event stream
}

// Deliverer sends what replays read. It is called from many goroutines.
type Deliverer interface {
	// Begin gets ready for a job's events.
	Begin(job Record) Sending
}

// Sending is one job in a deliverer's hands.
type Sending interface {
	// Send takes one message to its end and settles it. When ctx ends, it leaves alone
	// what has not been sent; when work ends, also what is under way.
	Send(ctx, work context.Context, msg jetstream.Msg) Result
	// Most is how many messages more are worth pulling now, when there are few places
	// for them.
	Most() int
	// End says that no more messages come, and none is in hand.
	End()
}

// Options are what a [Runner] cannot do without.
type Options struct {
	Layout   layout.Layout
	Slots    int            // events in hand at once, all jobs of this replica together; 0 means 512
	Replicas func() int     // that live now: a rate is divided by their number
	Hold     func() bool    // says that live traffic needs everything: nothing is pulled meanwhile
	Every    time.Duration  // how often a job is looked at; 0 means 1 s
	Settled  func(Outcome)  // hears of every event's end
	Working  func(jobs int) // hears how many jobs this replica works on, when that changes
	Log      zerolog.Logger
	Panics   *panics.Guard
}

const defaultSlots = 512

// Runner works on every running job, together with the runners of other replicas.
type Runner struct {
	js      jetstream.JetStream
	deliver Deliverer
	o       Options
	slots   *semaphore.Weighted
	quiet   *quiet.Log // trouble that lasts

	updates chan update
	ended   chan ending
	workers map[string]*worker // owned by Run
	known   map[string]update  // owned by Run
}

// update is what the bucket says of a job.
type update struct {
	job      Record
	revision uint64
}

// ending says that a worker has ended, because of a record of this revision.
type ending struct {
	id       string
	revision uint64
}

// New returns a runner that does nothing until [Runner.Run].
func New(js jetstream.JetStream, deliver Deliverer, o Options) *Runner {
	if o.Slots == 0 {
		o.Slots = defaultSlots
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	return &Runner{
		js: js, deliver: deliver, o: o, slots: semaphore.NewWeighted(int64(o.Slots)), quiet: quiet.New(o.Log),
		updates: make(chan update, 64), ended: make(chan ending), workers: map[string]*worker{}, known: map[string]update{},
	}
}

// Run works until fetch ends, finishes what is in hand, and returns. work ends
// later and cuts short what is still in hand then.
func (r *Runner) Run(fetch, work context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { r.keepWatching(fetch) })
	for fetch.Err() == nil {
		r.o.Panics.Do(panics.PlaceReplay, func() { r.step(fetch, work) })
	}
	for len(r.workers) > 0 {
		r.end(<-r.ended)
	}
	watching.Wait()
}

func (r *Runner) step(fetch, work context.Context) {
	select {
	case u := <-r.updates:
		r.known[u.job.ID] = u
		r.consider(fetch, work, u)
	case e := <-r.ended:
		r.end(e)
		if u := r.known[e.id]; u.revision > e.revision {
			r.consider(fetch, work, u) // it was resumed in the moment it stopped
		}
	case <-fetch.Done():
	}
}

func (r *Runner) consider(fetch, work context.Context, u update) {
	if u.job.State != Running || r.workers[u.job.ID] != nil {
		return
	}
	w := newWorker(r, u.job)
	r.workers[u.job.ID] = w
	r.o.Working(len(r.workers))
	go func() {
		e := ending{u.job.ID, u.revision}
		r.o.Panics.Do(panics.PlaceReplay, func() { e.revision = w.run(fetch, work) })
		r.ended <- e
	}()
}

func (r *Runner) end(e ending) {
	delete(r.workers, e.id)
	r.o.Working(len(r.workers))
}

// keepWatching watches the bucket, and begins anew every few minutes and whenever
// the watch ends.
func (r *Runner) keepWatching(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.o.Panics.Try(panics.PlaceReplay, func() error { return r.watch(ctx) }); err != nil && ctx.Err() == nil {
			r.o.Log.Debug().Err(err).Msg("the replays could not be watched")
			wait.For(ctx, rewatchWait)
		}
	}
}

func (r *Runner) watch(ctx context.Context) error {
	kv, err := open(ctx, r.js, r.o.Layout.Names)
	if err != nil {
		return err
	}
	watching, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", r.o.Layout.Names.Replays(), err)
	}
	defer func() { _ = watching.Stop() }() // its context ends it as well
	resync := time.NewTimer(resyncEvery)
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-resync.C:
			return nil
		case e, ok := <-watching.Updates():
			if !ok {
				return errors.New("the watch was closed")
			}
			if e != nil {
				r.tell(ctx, e)
			}
		}
	}
}

func (r *Runner) tell(ctx context.Context, e jetstream.KeyValueEntry) {
	job, err := decode(e.Value())
	if err != nil {
		r.o.Log.Warn().Err(err).Str("replay", e.Key()).Msg("a replay cannot be read and is left alone")
		return
	}
	select {
	case r.updates <- update{job, e.Revision()}:
	case <-ctx.Done():
	}
}
