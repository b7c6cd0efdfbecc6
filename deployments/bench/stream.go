package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/deployments/internal/process"
	"github.com/popsee/webhooks/events"
)

// streamCommand measures what one event stream takes, and what it gives meanwhile:
// the bound of a deployment that no replica can lift.
type streamCommand struct {
	Rounds  int           `default:"3" help:"How often each is measured; the figures are medians."`
	Copies  []int         `default:"1,3" help:"Copies of the stream, each on a server of its own."`
	Sync    []string      `default:"2m,always" enum:"2m,always" help:"sync_interval of NATS: 2m is its default, always syncs every write."`
	Batch   []int         `default:"1,100" help:"Events that are published with one write: 1 is each by itself, more are atomic batches."`
	Singles int           `default:"64" help:"Publishes on their way at once, where each is by itself."`
	Batches int           `default:"8" help:"Batches on their way at once; a server takes 50 of a stream."`
	Surveys int           `default:"1000" help:"Surveys, each with a subject of its own."`
	Warm    time.Duration `default:"1s" help:"Not counted."`
	Measure time.Duration `default:"5s" help:"Counted."`
	JSON    string        `placeholder:"FILE" help:"Write the raw numbers."`
	Profile string        `placeholder:"DIR" help:"Write CPU and allocation profiles of the processes into this folder; figures are then a little worse."`
	Keep    bool          `help:"Keep the temporary folders, with every process' log."`
}

// streamKind is one way to use a stream.
type streamKind struct {
	Copies int
	Sync   string
	Batch  int
}

// streamFigures is one turn of one kind: first nothing is consumed, then everything is
// while it comes.
type streamFigures struct {
	streamKind

	Round         int
	Alone, Beside streamRate
	Missing       int // events that were acknowledged, and are not in the stream
}

// streamRate is what went through in the time that counts. CPU is of all servers, in
// microseconds for an event that was published.
type streamRate struct {
	Published float64 // events a second whose publication was acknowledged
	Consumed  float64 // events a second that were given out and acknowledged
	CPU       float64
}

// Run measures, and fails where what is asked is not so.
func (c *streamCommand) Run(ctx context.Context) error {
	return measured(ctx, c.Profile, c.JSON, c.rounds, c.text, func(all []streamFigures) error { return unmet(streamAsked(all)) })
}

func (c *streamCommand) rounds(ctx context.Context, bin string) (all []streamFigures, err error) {
	for round := range c.Rounds {
		for _, copies := range c.Copies {
			for _, sync := range c.Sync {
				for _, batch := range c.Batch {
					f := streamFigures{streamKind: streamKind{copies, sync, batch}, Round: round}
					if err := c.ledTurn(ctx, bin, &f); err != nil {
						return all, fmt.Errorf("%s: %w", f.streamKind, err)
					}
					fmt.Fprintln(os.Stderr, f.brief())
					all = append(all, f)
				}
			}
		}
	}
	return all, nil
}

// turns is how often a turn is tried in which nobody led for a while.
const turns = 3

// ledTurn is a turn in which somebody led the stream and its consumer all the time. On a
// machine that has too much to do a cluster may vote anew, which says nothing of what it
// takes.
func (c *streamCommand) ledTurn(ctx context.Context, bin string, f *streamFigures) error {
	for n := 1; ; n++ {
		err := c.turn(ctx, bin, f)
		if n == turns || !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoStreamResponse) {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: once more, for nobody led: %v\n", f.streamKind, err)
	}
}

// turn measures one kind on servers of its own.
func (c *streamCommand) turn(ctx context.Context, bin string, f *streamFigures) (err error) {
	s, err := openServers(ctx, setup{bin, f.Sync, c.Keep}, f.Copies)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l := layout.Layout{Replicas: f.Copies}
	if err := s.makeStream(ctx, l); err != nil {
		return err
	}
	p := &streamPublisher{js: s.js, surveys: c.Surveys, batch: f.Batch, width: c.Singles}
	if f.Batch > 1 {
		p.width = c.Batches
	}
	if f.Alone, err = c.measure(ctx, s, p, nil); err != nil {
		return err
	}
	state, err := s.streamState(ctx)
	if err != nil {
		return err
	}
	taker, err := newTaker(ctx, s.url, l, state.LastSeq+1)
	if err != nil {
		return err
	}
	defer taker.close()
	if f.Beside, err = c.measure(ctx, s, p, taker); err != nil {
		return err
	}
	if state, err = s.streamState(ctx); err != nil {
		return err
	}
	f.Missing = max(int(p.acked.Load())-int(state.Msgs), 0) //nolint:gosec // never so many
	return nil
}

// measure publishes, and counts when it is warm. taker is nil where nothing is consumed.
func (c *streamCommand) measure(ctx context.Context, s *servers, p *streamPublisher, taker *taker) (r streamRate, err error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	errs := make([]error, 2)
	work.Go(func() { errs[0] = p.run(working); stop() })
	if taker != nil {
		work.Go(func() { errs[1] = taker.run(working); stop() })
	}
	look := func() (at time.Time, acked, taken int64, cpu time.Duration) {
		cpu, err = s.cpu()
		return time.Now(), p.acked.Load(), taker.count(), cpu
	}
	if process.Sleep(working, c.Warm) == nil && err == nil {
		began, acked, taken, cpu := look()
		if process.Sleep(working, c.Measure) == nil && err == nil {
			ended, acked2, taken2, cpu2 := look()
			seconds := ended.Sub(began).Seconds()
			r = streamRate{
				Published: float64(acked2-acked) / seconds, Consumed: float64(taken2-taken) / seconds,
				CPU: float64((cpu2 - cpu).Microseconds()) / float64(max(acked2-acked, 1)),
			}
		}
	}
	stop()
	work.Wait()
	return r, errors.Join(err, ctx.Err(), errs[0], errs[1])
}

// streamPublisher publishes as fast as acknowledgements come, so many at once.
type streamPublisher struct {
	js                    jetstream.JetStream
	surveys, batch, width int

	next, acked atomic.Int64
}

// run publishes until ctx ends. What is on its way then is waited for: it counts as
// stored or not.
func (p *streamPublisher) run(ctx context.Context) error {
	var workers sync.WaitGroup
	errs := make([]error, p.width)
	for w := range p.width {
		workers.Go(func() {
			for ctx.Err() == nil && errs[w] == nil {
				errs[w] = p.publish(context.WithoutCancel(ctx))
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// publish publishes one write's worth: an event by itself with the message id that
// publishers are told to use, or a batch.
func (p *streamPublisher) publish(ctx context.Context) error {
	msgs := make([]*nats.Msg, p.batch)
	last := int(p.next.Add(int64(p.batch)))
	for n := range msgs {
		i := last - p.batch + n
		s := i % p.surveys
		msgs[n] = &nats.Msg{Subject: events.Names{}.Subject(survey(s)), Header: nats.Header{}, Data: newEvent(i, s, time.Now())}
	}
	var err error
	if p.batch == 1 {
		_, err = p.js.PublishMsg(ctx, msgs[0], jetstream.WithMsgID(fmt.Sprint("stream-", last)))
	} else {
		_, err = jetstreamext.PublishMsgBatch(ctx, p.js, msgs)
	}
	if err != nil {
		return fmt.Errorf("publish %d events: %w", p.batch, err)
	}
	p.acked.Add(int64(p.batch))
	return nil
}

// taker consumes as the service does, without doing anything: a shared durable is
// pulled from, and each event is acknowledged by itself.
type taker struct {
	nc    *nats.Conn
	cons  jetstream.Consumer
	taken atomic.Int64
}

// takenAtOnce is what one pull asks for.
const takenAtOnce = 500

// newTaker takes what is published from a sequence on.
func newTaker(ctx context.Context, url string, l layout.Layout, from uint64) (*taker, error) {
	nc, err := nats.Connect(url) // of its own, as a replica's
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		t := &taker{nc: nc}
		if t.cons, err = js.CreateConsumer(ctx, l.Names.Stream(), l.Consumer(from, nil)); err == nil {
			return t, nil
		}
	}
	nc.Close()
	return nil, err
}

func (t *taker) close() { t.nc.Close() }

// count is how many events were taken; none by nobody.
func (t *taker) count() int64 {
	if t == nil {
		return 0
	}
	return t.taken.Load()
}

// run takes until ctx ends.
func (t *taker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := t.cons.Fetch(takenAtOnce, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		for msg := range batch.Messages() {
			if err := msg.Ack(); err != nil {
				return fmt.Errorf("acknowledge: %w", err)
			}
			t.taken.Add(1)
		}
		if err := batch.Error(); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
	}
	return nil
}

// String names a kind.
func (k streamKind) String() string {
	return fmt.Sprintf("%d copies, sync %s, %d a write", k.Copies, k.Sync, k.Batch)
}

func (f streamFigures) brief() string {
	return fmt.Sprintf("%s, round %d: %.0f/s published (NATS CPU µs an event: %.0f); while consumed %.0f/s published (%.0f), %.0f/s consumed; %d missing",
		f.streamKind, f.Round+1, f.Alone.Published, f.Alone.CPU, f.Beside.Published, f.Beside.CPU, f.Beside.Consumed, f.Missing)
}

// streamMedians is one for each kind, in the order in which they came first.
func streamMedians(all []streamFigures) (sums []streamFigures) {
	by := map[streamKind][]streamFigures{}
	var kinds []streamKind
	for _, f := range all {
		if by[f.streamKind] == nil {
			kinds = append(kinds, f.streamKind)
		}
		by[f.streamKind] = append(by[f.streamKind], f)
	}
	for _, k := range kinds {
		of := func(rate func(f streamFigures) streamRate) streamRate {
			return streamRate{
				Published: median(by[k], func(f streamFigures) float64 { return rate(f).Published }),
				Consumed:  median(by[k], func(f streamFigures) float64 { return rate(f).Consumed }),
				CPU:       median(by[k], func(f streamFigures) float64 { return rate(f).CPU }),
			}
		}
		sum := streamFigures{
			streamKind: k, Alone: of(func(f streamFigures) streamRate { return f.Alone }), Beside: of(func(f streamFigures) streamRate { return f.Beside }),
		}
		for _, f := range by[k] {
			sum.Missing += f.Missing
		}
		sums = append(sums, sum)
	}
	return sums
}

// streamAsked is what is asked: what was acknowledged is there, and three copies of which
// every write is synced take what scaling.md plans a deployment with, in the better way
// to publish and while they are consumed.
func streamAsked(all []streamFigures) (list []asked) {
	var missing int
	var most float64
	for _, f := range streamMedians(all) {
		missing += f.Missing
		if f.Copies == 3 && f.Sync == always {
			most = max(most, f.Beside.Published)
		}
	}
	list = append(list, atMost("acknowledged events that are not in the stream", float64(missing), 0))
	if most > 0 {
		list = append(list, atLeast("events/s that three synced copies take while they are consumed", most, deploymentMax))
	}
	return list
}

func (c *streamCommand) text(all []streamFigures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d CPUs, %s; publisher, consumer and all servers on this one machine, file store. Events of about 1 KB to %d subjects, %d publishes or %d batches on their way; %s warm-up, %s measured, medians of %d rounds.\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), c.Surveys, c.Singles, c.Batches, c.Warm, c.Measure, c.Rounds)
	b.WriteString("| copies | sync_interval | events a write | published/s | NATS CPU µs an event | while consumed: published/s | consumed and acknowledged/s | NATS CPU µs an event |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range streamMedians(all) {
		fmt.Fprintf(&b, "| %d | %s | %d | %.0f | %.0f | %.0f | %.0f | %.0f |\n",
			f.Copies, f.Sync, f.Batch, f.Alone.Published, f.Alone.CPU, f.Beside.Published, f.Beside.Consumed, f.Beside.CPU)
	}
	return b.String() + "\n" + verdicts(streamAsked(all))
}
