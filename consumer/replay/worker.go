package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	askTime     = 5 * time.Second        // one question to NATS
	pullTime    = time.Second            // one pull stays open so long, and a stop may wait for it
	pullAgain   = 250 * time.Millisecond // after a pull that could not be made, or was not to be
	settleTries = 4                      // looks at a paused job, a quarter of a second apart
	beyondPull  = 16                     // asked for once the job's end is reached: what others had in hand may come again
)

// worker is one job in the hands of this replica.
type worker struct {
	r       *Runner
	id      string
	sending Sending
	pulls   *rate.Limiter          // of events that are pulled
	starts  *rate.Limiter          // of those pulled that are begun: one by one
	job     atomic.Pointer[Record] // as last looked at
	cons    atomic.Pointer[jetstream.Consumer]
	beyond  atomic.Bool // an event behind the job's end has come

	revision uint64 // of the record, as last looked at; owned by keepLooking until it has returned
	handlers sync.WaitGroup

	mu    sync.Mutex // guards tally
	tally progress   // not yet written
}

func newWorker(r *Runner, job Record) *worker {
	w := &worker{r: r, id: job.ID, sending: r.deliver.Begin(job)}
	limit := share(job.Rate, r.o.Replicas())
	w.pulls, w.starts = rate.NewLimiter(limit, mostPulled), rate.NewLimiter(startsFor(limit), 1)
	w.pulls.AllowN(time.Now(), mostPulled) // it begins without a burst
	w.job.Store(&job)
	return w
}

// run works on the job until it does not run any more or fetch ends, and returns
// the revision of the record it last saw.
func (w *worker) run(fetch, work context.Context) uint64 {
	defer w.sending.End()
	ctx, stop := context.WithCancel(fetch)
	defer stop()
	guard := w.r.o.Panics
	w.r.o.Log.Info().Str("replay", w.id).Msg("working on a replay")
	var loops sync.WaitGroup
	loops.Go(func() {
		defer stop()
		w.keepLooking(ctx)
	})
	guard.Do(panics.PlaceReplay, func() { w.pull(ctx, work) })
	stop()
	loops.Wait()
	w.handlers.Wait()
	guard.Do(panics.PlaceReplay, func() { w.leave(work) })
	return w.revision
}

// keepLooking looks at the job until it does not run any more.
func (w *worker) keepLooking(ctx context.Context) {
	tick := time.NewTicker(w.r.o.Every)
	defer tick.Stop()
	for {
		ended := false
		err := w.r.o.Panics.Try(panics.PlaceReplay, func() (err error) {
			ended, err = w.look(ctx)
			return err
		})
		if ended {
			return
		}
		if err != nil && ctx.Err() == nil {
			w.r.quiet.Warn(fmt.Errorf("replay %s: %w", w.id, err), "a replay could not be looked at; it goes on, and is looked at again")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look compares the job's record with the bus, and does what follows from both. It
// says whether the job does not run any more.
func (w *worker) look(ctx context.Context) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*askTime)
	defer cancel()
	s, err := w.see(ctx)
	if err != nil {
		return false, err
	}
	job, err := w.read(ctx) // after the consumer: a cancelled one's may be gone
	if errors.Is(err, ErrNoReplay) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	limit := share(job.Rate, w.r.o.Replicas())
	w.pulls.SetLimit(limit)
	w.starts.SetLimit(startsFor(limit))
	switch judge(job, s) {
	case stepRest:
		return true, nil
	case stepForeign:
		return w.fail(ctx, errForeign)
	case stepCreate:
		return false, w.create(ctx, job)
	case stepFinish:
		return w.finish(ctx, s)
	case stepWork:
	}
	if w.cons.Load() == nil {
		err = w.bind(ctx)
	}
	return false, errors.Join(err, w.report(ctx, s))
}

func (w *worker) read(ctx context.Context) (Record, error) {
	kv, err := open(ctx, w.r.js, w.r.o.Layout.Names)
	if err != nil {
		return Record{}, err
	}
	job, err := get(ctx, kv, w.id)
	if err == nil {
		w.job.Store(&job)
		w.revision = job.Revision
	}
	return job, err
}

func (w *worker) see(ctx context.Context) (sight, error) {
	names := w.r.o.Layout.Names
	stream, err := w.r.js.Stream(ctx, names.Stream())
	if err != nil {
		return sight{}, fmt.Errorf("look at stream %s: %w", names.Stream(), err)
	}
	cons, err := stream.Consumer(ctx, names.ReplayConsumer(w.id))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return sightOf(stream.CachedInfo(), nil), nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("look at consumer %s: %w", names.ReplayConsumer(w.id), err)
	}
	return sightOf(stream.CachedInfo(), cons.CachedInfo()), nil
}

// create makes the job's consumer behind what is settled: at the job's beginning,
// or when it was lost. Another replica may do so in the same moment.
func (w *worker) create(ctx context.Context, job Record) error {
	names := w.r.o.Layout.Names
	stream, err := w.r.js.Stream(ctx, names.Stream())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", names.Stream(), err)
	}
	w.cons.Store(nil)
	cfg := w.r.o.Layout.Replay(w.id, job.from(), Filters(stream.CachedInfo().Config, names, job.Surveys))
	_, err = w.r.js.CreateConsumer(ctx, names.Stream(), cfg)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("create consumer %s: %w", cfg.Durable, err)
	}
	if job.Given > 0 {
		w.r.o.Log.Warn().Str("replay", w.id).Uint64("from", job.from()).
			Msg("a replay's consumer was lost; created again behind what is settled: what was settled in the last second is sent twice")
	}
	return w.bind(ctx)
}

func (w *worker) bind(ctx context.Context) error {
	names := w.r.o.Layout.Names
	cons, err := w.r.js.Consumer(ctx, names.Stream(), names.ReplayConsumer(w.id))
	if err != nil {
		return fmt.Errorf("bind consumer %s: %w", names.ReplayConsumer(w.id), err)
	}
	w.cons.Store(&cons)
	return nil
}

// finish ends the job for every replica: whoever is first writes it. What others
// have counted and not yet written follows.
func (w *worker) finish(ctx context.Context, s sight) (bool, error) {
	if left, err := w.left(ctx, s); err != nil || left {
		return false, err
	}
	at, won := time.Now(), false
	p, err := w.account(ctx, s)
	if err != nil {
		return false, err
	}
	job, err := w.write(ctx, p, func(r *Record) {
		if won = r.State == Running; won {
			r.State, r.Since, r.Settled, r.Updated = Done, at.UTC(), r.End, at.UTC()
		}
	})
	if err != nil {
		return false, err
	}
	if won {
		w.r.o.Log.Info().Str("replay", w.id).Interface("counts", job.Counts).Uint64("gone", job.Gone).Msg("replay done")
	}
	return true, nil
}

// left asks the stream's leader whether anything lies between where the consumer stands and
// the job's end: what one server of a cluster says of what it has not heard of yet
// must not end a replay early.
func (w *worker) left(ctx context.Context, s sight) (bool, error) {
	job := w.job.Load()
	if s.cursor == nil || s.cursor.floor >= job.End {
		return false, nil
	}
	names := w.r.o.Layout.Names
	stream, err := w.r.js.Stream(ctx, names.Stream())
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", names.Stream(), err)
	}
	return walk.Left(ctx, w.r.js, names.Stream(), Filters(stream.CachedInfo().Config, names, job.Surveys), max(s.cursor.given+1, job.Start), job.End)
}

func (w *worker) fail(ctx context.Context, why error) (bool, error) {
	_, err := w.write(ctx, progress{}, func(r *Record) {
		if !r.State.Ended() {
			r.State, r.Since, r.Why = Failed, time.Now().UTC(), why.Error()
		}
	})
	if err != nil {
		return false, err
	}
	w.r.o.Log.Error().Err(why).Str("replay", w.id).Msg("replay failed")
	return true, nil
}

// progressAt is where the job stands by what was seen of it.
func (w *worker) progressAt(s sight) progress {
	p := progress{first: s.first}
	if s.cursor != nil {
		p.settled, p.given = s.cursor.floor, s.cursor.given
	}
	return p
}

// account is where the job stands, and, where the event stream has dropped what was
// given to nobody, what is left of the job.
func (w *worker) account(ctx context.Context, s sight) (progress, error) {
	p, job := w.progressAt(s), w.job.Load()
	missed := job.missed(p)
	if missed == 0 {
		return p, nil
	}
	p.after = &after{}
	if s.cursor != nil {
		p.after.inHand = uint64(s.cursor.inHand) //nolint:gosec // never negative
	}
	if from := max(p.first, p.given+1, job.Start); from <= job.End {
		left, err := Count(ctx, w.r.js, w.r.o.Layout.Names, job.Surveys, from, job.End)
		if err != nil {
			return p, err
		}
		p.after.left = left
	}
	w.r.o.Log.Warn().Str("replay", w.id).Uint64("up_to", min(p.first-1, job.End)).
		Msg("events have left the event stream before they could be replayed; see webhooks replay show")
	return p, nil
}

// report writes how far the job is.
func (w *worker) report(ctx context.Context, s sight) error {
	p, err := w.account(ctx, s)
	if err != nil {
		return err
	}
	_, err = w.write(ctx, p, func(*Record) {})
	return err
}

// write adds to a position what was counted here since the last time, and makes a
// change besides. What could not be written is counted the next time.
func (w *worker) write(ctx context.Context, p progress, change func(*Record)) (Record, error) {
	counted := w.take()
	p.counts, p.leftOut = counted.counts, counted.leftOut
	job, err := Change(ctx, w.r.js, w.r.o.Layout.Names, w.id, func(r *Record) error {
		r.report(p, time.Now())
		change(r)
		return nil
	})
	if err != nil {
		w.giveBack(counted)
		return job, err
	}
	w.job.Store(&job)
	return job, nil
}

func (w *worker) take() progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.tally
	w.tally = progress{}
	return p
}

func (w *worker) giveBack(p progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.counts.add(p.counts)
	for survey, seq := range p.leftOut {
		w.tally.leave(survey, seq)
	}
}

func (p *progress) leave(survey events.Survey, seq uint64) {
	if p.leftOut == nil {
		p.leftOut = map[events.Survey]uint64{}
	}
	if old, there := p.leftOut[survey]; !there && len(p.leftOut) < maxLeftOut || there && seq < old {
		p.leftOut[survey] = seq
	}
}

// seeSettled looks at what stands on the bus, of a paused job when the server has
// taken in the last acknowledgements, or a second has not been enough for that.
func (w *worker) seeSettled(ctx context.Context) (s sight, err error) {
	for range settleTries {
		s, err = w.see(ctx)
		if err != nil || w.job.Load().State != Paused || s.cursor == nil || s.cursor.inHand == 0 {
			break
		}
		wait.For(ctx, pullAgain)
	}
	return s, err
}

// leave writes what is still to be said of the job, how far it has come included:
// a paused one may be resumed when its consumer is forgotten. It removes the consumer
// of one that has ended; should that fail, the server does so after a day.
func (w *worker) leave(work context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), askTime)
	defer cancel()
	p := progress{}
	if s, err := w.seeSettled(ctx); err == nil && w.job.Load().StreamCreated.Equal(s.created) {
		if p, err = w.account(ctx, s); err != nil {
			p = w.progressAt(s) // a coarser count is better than none
		}
	}
	if job, err := w.write(ctx, p, func(*Record) {}); err != nil || !job.State.Ended() {
		return
	}
	names := w.r.o.Layout.Names
	err := w.r.js.DeleteConsumer(ctx, names.Stream(), names.ReplayConsumer(w.id))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		w.r.o.Log.Debug().Err(err).Str("replay", w.id).Msg("a replay's consumer could not be removed; the server does so after a day")
	}
}

// pull pulls what the rate and the slots allow, until ctx ends.
func (w *worker) pull(ctx, work context.Context) {
	for ctx.Err() == nil {
		cons := w.cons.Load()
		n := min(pullSize(w.pulls.Limit()), w.sending.Most())
		if cons == nil || n <= 0 || w.r.o.Hold() {
			wait.For(ctx, pullAgain)
			continue
		}
		if w.beyond.Load() {
			n = min(n, beyondPull)
			wait.For(ctx, w.r.o.Every)
		}
		if w.pulls.WaitN(ctx, n) != nil || w.r.slots.Acquire(ctx, int64(n)) != nil {
			return // ctx has ended
		}
		batch, err := (*cons).Fetch(n, jetstream.FetchMaxWait(pullTime))
		if err != nil {
			w.r.slots.Release(int64(n))
			wait.For(ctx, pullAgain)
			continue
		}
		w.handlers.Go(func() { w.receive(ctx, work, batch, n) })
	}
}

// receive hands every message of a pull to a goroutine of its own, as the rate has it
// one after the other, and gives back the slots the pull did not fill.
func (w *worker) receive(ctx, work context.Context, batch jetstream.MessageBatch, n int) {
	got := 0
	defer func() { w.r.slots.Release(int64(n - got)) }()
	defer w.r.o.Panics.Catch(panics.PlacePull, nil)
	for msg := range batch.Messages() {
		got++
		_ = w.starts.Wait(ctx) // when ctx has ended, the handler finds out
		w.handlers.Go(func() {
			defer w.r.slots.Release(1)
			defer w.r.o.Panics.Catch(panics.PlaceSettle, nil)
			w.one(ctx, work, msg)
		})
	}
	if batch.Error() != nil {
		w.cons.Store(nil) // the next look binds it anew, or finds out
		wait.For(ctx, pullAgain)
	}
}

// one takes one message to its end. What lies behind the job's end is none of it,
// and what is known to be settled is not sent again: the consumer's state was lost.
func (w *worker) one(ctx, work context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // nothing delivers to a pull's inbox but the server
	}
	seq, job := meta.Sequence.Stream, w.job.Load()
	switch {
	case seq > job.End:
		w.beyond.Store(true)
		_ = msg.Ack() // or it comes again, and means as little
	case seq <= job.Settled:
		_ = msg.Ack()
		w.r.o.Settled(Repeated)
	default:
		w.count(w.sending.Send(ctx, work, msg))
	}
}

func (w *worker) count(res Result) {
	w.r.o.Settled(res.Outcome)
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &w.tally.counts
	switch res.Outcome {
	case Delivered:
		c.Delivered++
	case Parked:
		c.Parked++
	case Owed:
		c.Owed++
	case NoWebhook:
		c.NoWebhook++
	case Dead:
		c.Dead++
	case Skipped:
		c.Skipped++
	case LeftOut:
		c.LeftOut++
		w.tally.leave(res.Survey, res.Sequence)
	case Repeated, Left:
	}
}
