package lanes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/quiet"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// Verdict is how trying a waiting event ended.
type Verdict uint8

// The verdicts; 0 is none.
const (
	Done    Verdict = iota + 1 // a 2xx, or nothing is owed any more
	Later                      // the endpoint refused or failed
	Failing                    // and fails as a whole since this attempt
	Gone                       // it wants nothing any more: 410
	Held                       // nothing was sent: not now, try in a moment
	Bury                       // it can never be delivered
)

// ReasonNoEndpoint is why events of a removed endpoint are buried.
const ReasonNoEndpoint = "no-endpoint"

// Result is how trying a waiting event ended, with what follows from it.
type Result struct {
	Verdict  Verdict
	Reason   string        // in one word
	Detail   string        // in one line
	Stack    string        // of a panic
	Probe    bool          // with Held: the endpoint is taken for failing, so only a probe may find out
	After    time.Duration // what the endpoint asked for (Retry-After), or how long a Held one is held; 0 means nothing
	Revision uint64        // of the endpoint that was tried
	Tried    time.Time     // when that was; zero: nothing was sent
}

// Deliverer tries one waiting event. It is called from many goroutines.
type Deliverer interface {
	// Ask says whether anything can be sent to a survey's endpoint now, before a
	// body is fetched for it: the zero Result, or why the lane is Held.
	Ask(ctx context.Context, survey events.Survey, probe bool) Result
	Deliver(ctx context.Context, w Waiting) Result
}

// Schedule says when an event that fails by itself is due next: delivery.Next.
type Schedule func(parked time.Time, id string, after time.Time) (due time.Time, ok bool)

// Another says whether a survey's endpoint is another one now than it was in a
// revision: changed, or removed. It is false where that cannot be known.
type Another func(ctx context.Context, survey events.Survey, revision uint64) bool

// Options are what an [Owner] cannot do without.
type Options struct {
	Names        events.Names
	Health       *health.Board
	Dead         *deadletters.Store
	Schedule     Schedule
	Slots        int                               // events tried at once, all lanes together; 0 means 256
	MaxEvents    int                               // that one lane holds; 0 means 50,000
	MaxBytes     int64                             // of bodies that one lane holds; 0 means 64 MiB
	MaxEvent     int                               // the largest event, in bytes; 0 means events.MaxBytes
	Another      Another                           // nil means that no endpoint ever changes unheard
	DisableAfter time.Duration                     // how long an endpoint may fail before it is disabled; 0 means five days
	Buried       func(s events.Survey, seq uint64) // hears of every event that became a dead letter; nil hears nothing
	Log          zerolog.Logger
	Panics       *panics.Guard
}

const (
	defaultSlots = 256
	disableAfter = 5 * 24 * time.Hour
	maxEvents    = 50_000
	maxBytes     = 64 << 20
)

func (o Options) disableAfter() time.Duration { return cmp.Or(o.DisableAfter, disableAfter) }

func (o Options) maxEvents() int  { return cmp.Or(o.MaxEvents, maxEvents) }
func (o Options) maxBytes() int64 { return cmp.Or(o.MaxBytes, maxBytes) }

// Owner delivers from the lanes whose shards this replica holds.
type Owner struct {
	js      jetstream.JetStream
	deliver Deliverer
	o       Options
	quiet   *quiet.Log                       // trouble that lasts
	slots   chan struct{}                    // one each event being tried
	probes  chan struct{}                    // one each of a failing endpoint's; they come on top
	stream  atomic.Pointer[jetstream.Stream] // kept: looking it up costs a round trip
	near    atomic.Pointer[jetstream.Stream] // the same where copies are read directly, see [Owner.copied]

	mu      sync.Mutex // guards what follows
	joining *feed      // shards may still join it; nil: the next one begins another
	shards  map[int]*shard
}

// New returns an owner that does nothing until it is given a shard.
func New(js jetstream.JetStream, deliver Deliverer, o Options) *Owner {
	o.Slots = cmp.Or(o.Slots, defaultSlots)
	o.MaxEvent = cmp.Or(o.MaxEvent, events.MaxBytes)
	if o.Another == nil {
		o.Another = func(context.Context, events.Survey, uint64) bool { return false }
	}
	if o.Buried == nil {
		o.Buried = func(events.Survey, uint64) {}
	}
	return &Owner{
		js: js, deliver: deliver, o: o, quiet: quiet.New(o.Log), shards: map[int]*shard{},
		slots: make(chan struct{}, o.Slots), probes: make(chan struct{}, max(o.Slots/2, 1)),
	}
}

// Own works on a shard until ctx ends, and returns when nothing of it is being
// tried any more. It is what leases.Keeper calls.
func (o *Owner) Own(ctx context.Context, l *leases.Lease) {
	kept, end := wait.Outlive(ctx, endTime)
	defer end()
	s := newShard(kept, o, l)
	o.mu.Lock()
	o.shards[l.Shard] = s
	o.mu.Unlock()
	working, stop := context.WithCancel(ctx)
	if !o.o.Panics.Do(panics.PlaceLane, func() { s.run(working) }) {
		stop()
		s.abandon(working)
		wait.For(ctx, panickedFor) // with the lease in hand: whoever took it would do so again, as fast as it can
	}
	stop()
	o.mu.Lock()
	delete(o.shards, l.Shard)
	o.mu.Unlock()
}

// trouble tells of what could not be done for a survey's lane. While NATS is away
// that is everything, of every lane, again and again.
func (o *Owner) trouble(survey events.Survey, err error, msg string) {
	o.quiet.Warn(fmt.Errorf("survey %s: %w", survey, err), msg)
}

// Count is what waits in the lanes of this replica.
type Count struct {
	Shards  int   // held
	Lanes   int   // in which something waits, or whose endpoint is not well
	Failing int   // of them are probed, or disabled
	Events  int   // waiting
	Bytes   int64 // of their bodies
}

// Count counts what waits. It asks the loop of every shard, and leaves out those
// that do not answer before ctx ends.
func (o *Owner) Count(ctx context.Context) Count {
	o.mu.Lock()
	shards := slices.Collect(maps.Values(o.shards))
	o.mu.Unlock()
	var sum Count
	for _, s := range shards {
		answer := make(chan Count, 1)
		select {
		case s.asked <- func() { answer <- s.count() }:
			c := <-answer
			sum.Shards, sum.Lanes, sum.Failing = sum.Shards+1, sum.Lanes+c.Lanes, sum.Failing+c.Failing
			sum.Events, sum.Bytes = sum.Events+c.Events, sum.Bytes+c.Bytes
		case <-s.over:
		case <-ctx.Done():
		}
	}
	return sum
}

func (s *shard) count() Count {
	c := Count{Lanes: len(s.lanes)}
	for _, l := range s.lanes {
		c.Events, c.Bytes = c.Events+l.live, c.Bytes+l.bytes
		if l.probing || l.disabled {
			c.Failing++
		}
	}
	return c
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

// lanes is the lanes stream. Several may ask for it at once at the start; nobody
// waits for another's answer with a lock in hand.
func (o *Owner) lanes(ctx context.Context) (jetstream.Stream, error) {
	if stream := o.stream.Load(); stream != nil {
		return *stream, nil
	}
	stream, err := o.js.Stream(ctx, o.o.Names.Lanes())
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", o.o.Names.Lanes(), err)
	}
	o.stream.Store(&stream)
	return stream, nil
}

// remove removes copies from a lane. Those that are gone already are no error. Each is
// looked at before: where the stream has stepped back another event, perhaps another
// customer's, may stand at its sequence.
func (o *Owner) remove(ctx context.Context, survey events.Survey, r removal) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	stream, err := o.lanes(ctx)
	if err != nil {
		return err
	}
	if err := o.removeUpTo(ctx, stream, survey, r.upTo); err != nil {
		return err
	}
	for _, e := range r.singles {
		if there, err := o.stands(ctx, survey, e); err != nil {
			return err
		} else if !there {
			continue
		}
		if err := stream.DeleteMsg(ctx, e.seq); err != nil {
			// A refusal does not say why in a form that code could read.
			if there, look := o.stands(ctx, survey, e); there || look != nil {
				return fmt.Errorf("remove parked event %d: %w", e.seq, err)
			}
		}
	}
	return nil
}

// removeUpTo removes a lane's copies up to the last of some that still stands: what is
// below one that is where it was is older than it.
func (o *Owner) removeUpTo(ctx context.Context, stream jetstream.Stream, survey events.Survey, done []entry) error {
	for _, e := range slices.Backward(done) {
		there, err := o.stands(ctx, survey, e)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(o.o.Names.LaneSubject(survey)), jetstream.WithPurgeSequence(e.seq+1))
		if err != nil {
			return fmt.Errorf("remove the events of survey %s up to %d from their lane: %w", survey, e.seq, err)
		}
		return nil
	}
	return nil
}
