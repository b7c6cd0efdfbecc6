package lanes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// Verdict is how trying a waiting event ended.
type Verdict uint8

// The verdicts.
const (
	Done    Verdict = iota + 1 // a 2xx, or nothing is owed any more
	Later                      // the endpoint refused or failed
	Failing                    // and fails as a whole since this attempt
	Held                       // nothing was sent: not now, try in a moment
	Bury                       // it can never be delivered
)

// Result is how trying a waiting event ended, with what follows from it.
type Result struct {
	Verdict Verdict
	Reason  string        // in one word
	Detail  string        // in one line
	Probe   bool          // with Held: the endpoint is taken for failing, so only a probe may find out
	After   time.Duration // what the endpoint asked for (Retry-After), or how long a Held one is held; 0 means nothing
}

// Deliverer tries one waiting event. It is called from many goroutines.
type Deliverer interface {
	Deliver(ctx context.Context, w Waiting) Result
}

// Schedule says when an event that fails by itself is due next: delivery.Next.
type Schedule func(parked time.Time, id string, after time.Time) (due time.Time, ok bool)

// Options are what an [Owner] cannot do without.
type Options struct {
	Names    events.Names
	Health   *health.Board
	Dead     *deadletters.Store
	Schedule Schedule
	Slots    int // events tried at once, all lanes together; 0 means 256
	Log      zerolog.Logger
}

const defaultSlots = 256

// Owner delivers from the lanes whose shards this replica holds.
type Owner struct {
	js      jetstream.JetStream
	deliver Deliverer
	o       Options
	slots   chan struct{} // one each event being tried

	mu     sync.Mutex       // guards shards and stream
	stream jetstream.Stream // kept: looking it up costs a round trip
	shards map[int]*shard
}

// New returns an owner that does nothing until it is given a shard.
func New(js jetstream.JetStream, deliver Deliverer, o Options) *Owner {
	if o.Slots == 0 {
		o.Slots = defaultSlots
	}
	return &Owner{js: js, deliver: deliver, o: o, slots: make(chan struct{}, o.Slots), shards: map[int]*shard{}}
}

// Own works on a shard until ctx ends, and returns when nothing of it is being
// tried any more. It is what leases.Keeper calls.
func (o *Owner) Own(ctx context.Context, l *leases.Lease) {
	s := newShard(o, l)
	o.mu.Lock()
	o.shards[l.Shard] = s
	o.mu.Unlock()
	s.run(ctx)
	o.mu.Lock()
	delete(o.shards, l.Shard)
	o.mu.Unlock()
}

// Changed says that a survey's endpoint is another one now: what waits for it is
// tried at once. It does nothing when another replica owns the survey's shard.
func (o *Owner) Changed(survey events.Survey) {
	o.mu.Lock()
	s := o.shards[o.o.Names.Shard(survey)]
	o.mu.Unlock()
	if s != nil {
		s.poke(survey)
	}
}

// lanes is the lanes stream.
func (o *Owner) lanes(ctx context.Context) (jetstream.Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream != nil {
		return o.stream, nil
	}
	stream, err := o.js.Stream(ctx, o.o.Names.Lanes())
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", o.o.Names.Lanes(), err)
	}
	o.stream = stream
	return stream, nil
}

// remove deletes an event's copy. One that is gone is no error.
func (o *Owner) remove(ctx context.Context, seq uint64) error {
	stream, err := o.lanes(ctx)
	if err != nil {
		return err
	}
	if err := stream.DeleteMsg(ctx, seq); err != nil {
		// A refusal does not say why in a form that code could read.
		if _, look := stream.GetMsg(ctx, seq); errors.Is(look, jetstream.ErrMsgNotFound) {
			return nil
		}
		return fmt.Errorf("remove parked event %d: %w", seq, err)
	}
	return nil
}

// fetch reads an event's copy; a nil one is gone.
func (o *Owner) fetch(ctx context.Context, survey events.Survey, seq uint64) (*Waiting, error) {
	stream, err := o.lanes(ctx)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // it is gone: nothing, and nothing wrong
	}
	if err != nil {
		return nil, fmt.Errorf("fetch parked event %d: %w", seq, err)
	}
	w, err := read(msg.Header, msg.Data)
	w.Survey = survey
	return &w, err
}
