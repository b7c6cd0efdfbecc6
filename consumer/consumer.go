package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/quiet"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// Endpoints looks a survey's webhook up in memory. It returns
// [config.ErrNoEndpoint] when nothing is owed to the survey, and any other
// error when that cannot be known now.
type Endpoints interface {
	Target(ctx context.Context, survey events.Survey) (*delivery.Target, config.Limits, error)
	Current() (bool, time.Time)
	Watch(f func(config.Change)) (cancel func())
}

// Sender makes one attempt. Every end is an attempt, never an error.
type Sender interface {
	Send(ctx context.Context, t *delivery.Target, e events.Event, m delivery.Meta) delivery.Attempt
}

// History remembers what was tried and what was settled without a try. Neither
// call may block: they stand in the hot path.
type History interface {
	Attempt(seq uint64, a delivery.Attempt)
	Settled(kind deliverylog.Kind, survey events.Survey, seq uint64)
}

// noHistory forgets everything.
type noHistory struct{}

func (noHistory) Attempt(uint64, delivery.Attempt)                {}
func (noHistory) Settled(deliverylog.Kind, events.Survey, uint64) {}

// Options are the choices of a [Consumer]. The zero value works.
type Options struct {
	Layout       layout.Layout
	MaxBytes     int                   // the largest event delivered; 0 means events.MaxBytes
	Replica      string                // who this is among the replicas, unique while it lives
	Version      string                // of the program, announced to the others
	Slots        int                   // messages in hand at once; 0 means 2,000
	LaneEvents   int                   // that one survey's lane holds; 0 means 50,000
	LaneBytes    int64                 // of bodies that one survey's lane holds; 0 means 64 MiB
	DisableAfter time.Duration         // how long an endpoint may fail before it is disabled; 0 means five days
	PullExpires  time.Duration         // how long one pull stays open, and so how long a stop may wait for it; 0 means 1 s
	MarkInterval time.Duration         // how often the mark is looked at; 0 means 1 s
	HealthEvery  time.Duration         // how often the bucket of health is asked whether it is still the one that is watched; 0 means 5 s
	Log          zerolog.Logger        // the zero logger is silent
	History      History               // the delivery log; nil remembers nothing
	Metrics      prometheus.Registerer // where the metrics are registered; nil means nowhere
	Tracer       trace.Tracer          // makes the spans of each event and attempt; nil traces nothing
	Panics       *panics.Guard         // counts and tells of panics; nil counts them in Metrics
}

// defaultSlots is what one replica on two cores keeps busy: at 50 ms an
// endpoint, 2,000 in flight are 40,000 deliveries a second.
const defaultSlots = 2000

func (o Options) slots() int {
	if o.Slots == 0 {
		return defaultSlots
	}
	return o.Slots
}

func (o Options) pullExpires() time.Duration { return orDuration(o.PullExpires, time.Second) }

func (o Options) maxBytes() int {
	if o.MaxBytes == 0 {
		return events.MaxBytes
	}
	return o.MaxBytes
}

func (o Options) metrics() prometheus.Registerer {
	if o.Metrics == nil {
		return prometheus.NewRegistry()
	}
	return o.Metrics
}

// Consumer is the live consumer of one replica. Any number of them share the
// durable on one NATS without knowing of each other.
type Consumer struct {
	js        jetstream.JetStream
	endpoints Endpoints
	sender    Sender
	o         Options

	spans    *spans // nil: nothing is traced
	slots    *slots
	live     *way
	ways     ways
	mark     *mark.Keeper
	metrics  *metrics
	dead     *deadletters.Store
	quiet    *quiet.Log // trouble that lasts
	parker   *lanes.Parker
	resolver resolver
	gate     *admit.Gate
	leases   *leases.Keeper
	owner    *lanes.Owner
	held     sync.Map      // *leases.Lease -> nothing: whose shards are being worked on
	health   *health.Board // open while Run runs
	replays  *replay.Runner
	seats    seats           // of replayed events that wait in hand
	yields   replay.Yielding // whether replays wait for live events
	unsent   later           // acknowledgements NATS was away for
	returns  later           // what is given back once no pull of ours is open that would only bring it again
	binding  binding

	pulled   atomic.Int64 // when a pull last ended, Unix ns: the fetch loop's pulse
	received atomic.Int64 // when a message last arrived, Unix ns
	lookErr  atomic.Pointer[error]
	floor    atomic.Uint64 // of the durable, as last seen; 0 until then
	backlog  atomic.Uint64 // events no replica has been given yet, as last seen
	lagging  atomic.Int64  // since when there have been some, as far as was looked, Unix ns
	hurry    chan struct{} // capacity one: look at the mark now
	stopping atomic.Bool

	reconnects uint64 // of the connection, when the mark was last looked at for one; owned by pull
	hands      *hands
	receivers  sync.WaitGroup
}

// New returns a consumer that does nothing until [Consumer.Run].
func New(js jetstream.JetStream, endpoints Endpoints, sender Sender, o Options) *Consumer {
	if o.History == nil {
		o.History = noHistory{}
	}
	o.Metrics = o.metrics()
	if o.Panics == nil {
		o.Panics = panics.New(o.Log, o.Metrics)
	}
	c := &Consumer{
		js: js, endpoints: endpoints, sender: sender, o: o,
		slots:   newSlots(o.slots()),
		metrics: newMetrics(o.Metrics),
		mark:    mark.New(js, o.Layout, o.Log),
		gate:    admit.NewGate(o.slots()),
		parker:  lanes.NewParker(js, o.Layout.Names, o.Panics),
		leases: leases.New(js, o.Layout.Names, leases.Options{
			Self: leases.Replica{ID: cmp.Or(o.Replica, "replica"), Version: o.Version, Started: time.Now().UTC()}, TTL: o.Layout.LeaseTTL, Log: o.Log, Panics: o.Panics,
		}),
		dead:  deadletters.New(js, o.Layout.Names),
		quiet: quiet.New(o.Log),
		hurry: make(chan struct{}, 1),
		spans: newSpans(o.Tracer, o.Layout.Names.Stream()),
	}
	c.unsent.dropped, c.returns.dropped = c.dropped, c.dropped
	c.unsent.panics, c.returns.panics = o.Panics, o.Panics
	c.live = &way{inflight: newInflight(), counted: c.countLive}
	c.ways.add(c.live)
	c.hands = newHands(c.handleOne)
	c.replays = replay.New(js, fromReplays{c}, replay.Options{
		Layout: o.Layout, Slots: replaySlots, Replicas: func() int { return len(c.leases.Replicas()) }, Hold: c.needsAll, Log: o.Log, Panics: o.Panics,
		Settled: c.metrics.replayed, Working: func(jobs int) { c.metrics.replays.Set(float64(jobs)) },
	})
	c.metrics.slots.Set(float64(o.slots()))
	return c
}

// Run delivers until fetch ends, then finishes what is in hand and returns.
// work ends later than fetch and cuts short what is still in hand then; what is
// cut short stays unacknowledged and is delivered again, to another replica.
func (c *Consumer) Run(fetch, work context.Context) error {
	if err := c.firstLook(fetch); err != nil {
		return err
	}
	if err := c.openLanes(fetch); err != nil {
		return err
	}
	defer c.health.Close()
	fetch, stopFetching := context.WithCancel(fetch)
	defer stopFetching()
	var loops sync.WaitGroup
	keep, stopKeeping := context.WithCancel(work)
	for _, loop := range []func(context.Context){c.keepMark, c.keepProgress, c.keepAdmission, c.keepCounting, c.hands.lend, c.parker.Run} {
		loops.Go(func() { c.o.Panics.Keep(keep, panics.PlaceKeep, func() { loop(keep) }) })
	}
	own, stopOwning := context.WithCancel(work)
	loops.Go(func() { c.leases.Run(own, c.own) })
	unwatch := c.endpoints.Watch(func(ch config.Change) { c.owner.Changed(ch.Survey) })
	replaying := make(chan error, 1)
	go func() {
		err := c.o.Panics.Try(panics.PlaceRun, func() error { c.replays.Run(fetch, work); return nil })
		stopFetching() // or it has ended: without replays nobody would know what they lack
		replaying <- err
	}()
	err := c.o.Panics.Try(panics.PlaceRun, func() error { c.pull(fetch, work); return nil })
	stopFetching()
	c.stopping.Store(true)
	unwatch()
	stopOwning()
	c.receivers.Wait()
	c.hands.finish()
	err = errors.Join(err, <-replaying)
	c.returns.flush()
	c.unsent.flush()
	stopKeeping()
	loops.Wait()
	return errors.Join(err, c.lastLook(work))
}

// openLanes reads what is known of failing endpoints, and gets ready to own
// shards.
func (c *Consumer) openLanes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTime)
	defer cancel()
	names := c.o.Layout.Names
	board, err := health.Open(ctx, c.js, names, health.Options{LookEvery: c.o.HealthEvery, Log: c.o.Log, Panics: c.o.Panics})
	if err != nil {
		return fmt.Errorf("start the lanes: %w", err)
	}
	c.health = board
	c.owner = lanes.New(c.js, fromLanes{c}, lanes.Options{
		Names: names, Health: board, Dead: c.dead, Schedule: delivery.Next, MaxEvent: c.o.maxBytes(), Log: c.o.Log, Panics: c.o.Panics,
		MaxEvents: c.o.LaneEvents, MaxBytes: c.o.LaneBytes, DisableAfter: c.o.DisableAfter, Another: c.another,
		Buried: func(survey events.Survey, seq uint64) {
			c.metrics.buried.Inc()
			c.o.History.Settled(deliverylog.KindDead, survey, seq)
		},
	})
	return nil
}

// another implements lanes.Another.
func (c *Consumer) another(ctx context.Context, survey events.Survey, revision uint64) bool {
	_, limits, err := c.endpoints.Target(ctx, survey)
	removed := errors.Is(err, config.ErrNoEndpoint) && limits.Revision == 0
	return removed || limits.Revision > revision
}

const (
	openTime    = 30 * time.Second       // bounds reading the health of endpoints at the start
	leaderAgain = 500 * time.Millisecond // between looks while the cluster has no leader
)

// firstLook insists on a clear answer before anything is pulled. An alarm is
// not an error: the replica stays, says so, and goes on when a person has
// decided.
func (c *Consumer) firstLook(ctx context.Context) error {
	err := c.look(ctx)
	for layout.Leaderless(err) && wait.For(ctx, leaderAgain) {
		err = c.look(ctx)
	}
	if err == nil || errors.As(err, new(*mark.Alarm)) || errors.Is(err, mark.ErrBusy) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("start the live consumer: %w", err)
}

// lastLook writes the mark once more, so that a clean stop leaves it exact.
func (c *Consumer) lastLook(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := c.look(ctx); err != nil {
		c.o.Log.Warn().Err(err).Msg("the mark was not written at the stop; the next start compares with an older one")
	}
	return nil
}

// look compares the mark with the bus, and remembers how that went.
func (c *Consumer) look(ctx context.Context) error {
	before := c.mark.StreamCreated()
	stream, info, err := c.mark.Look(ctx)
	c.lookErr.Store(&err)
	if errors.As(err, new(*mark.Alarm)) {
		c.metrics.alarm.Set(1)
		c.live.inflight.forget()
		return err
	}
	if err != nil {
		return err
	}
	c.metrics.alarm.Set(0)
	if before != 0 && before != c.mark.StreamCreated() {
		c.live.inflight.forget()
	}
	c.observe(stream, info)
	return nil
}

func (c *Consumer) observe(stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo) {
	if before := c.backlog.Swap(info.NumPending); before == 0 {
		c.lagging.Store(time.Now().UnixNano())
	}
	c.yieldingObserved(info.NumPending)
	c.metrics.lag.Set(float64(info.NumPending))
	c.metrics.ackPending.Set(float64(info.NumAckPending))
	c.metrics.inFlight.Set(float64(c.live.inflight.count()))
	c.metrics.lost.Set(float64(leftUnsettled(stream.State, mark.Floor(info))))
	c.tellLost(stream.State, mark.Floor(info))
	c.metrics.timeLeft.Set(timeLeft(stream, info, time.Now()).Seconds())
	c.metrics.looked.SetToCurrentTime()
}

// keepMark looks at the mark about every second, and at once when hurried.
func (c *Consumer) keepMark(ctx context.Context) {
	tick := time.NewTicker(orDuration(c.o.MarkInterval, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.hurry:
		}
		err := c.look(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() == nil && !errors.As(err, new(*mark.Alarm)) && !errors.Is(err, mark.ErrBusy) {
			c.quiet.Warn(err, "the mark could not be looked at")
		}
	}
}

// lookSoon asks for a look at the mark without waiting for it.
func (c *Consumer) lookSoon() {
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

func orDuration(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}
