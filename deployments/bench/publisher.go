package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/popsee/webhooks/events"
)

// publisherCommand publishes a scenario's events at its pace.
type publisherCommand struct {
	NATS     string `required:""`
	Scenario string `required:"" type:"path"`
	Batch    bool   `help:"Publish what is due as one atomic batch: with every write synced, single ones are too slow."`
}

// measuring is what the publisher prints when the warm-up is over.
const measuring = "measuring"

// publication is what the publisher reports at its end.
type publication struct {
	Published int     // sent
	Acked     int     // and confirmed by the stream
	Healthy   int     // of those confirmed and counted, for healthy surveys
	Late      float64 // seconds that it was behind its pace, at most
	Seconds   float64 // that the counted ones took
	InOrder   bool    // the i-th event has the sequence i+1
}

// Run publishes and prints a publication.
func (c *publisherCommand) Run(ctx context.Context) error {
	collectSeldom()
	s, err := readScenario(c.Scenario)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(c.NATS)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*pending))
	if err != nil {
		return err
	}
	p := &publisher{s: s, js: js, next: s.order(), futures: make(chan future, pending)}
	return p.run(ctx, c.Batch)
}

// pending is how many events may be on their way: more than a second's worth, so
// that a slow server shows as lateness of the stream and not of the publisher.
const pending = 10_000

// publisher is one run. What it has published is counted by the goroutine that
// waits for the confirmations.
type publisher struct {
	s       scenario
	js      jetstream.JetStream
	next    func(i int) int
	futures chan future
	began   time.Time
	counted time.Time // when the first event that counts was sent
	report  publication
}

// future is one event on its way.
type future struct {
	i, survey int
	ack       jetstream.PubAckFuture
}

func (p *publisher) run(ctx context.Context, batch bool) error {
	p.report.InOrder = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := range p.futures {
			p.await(f)
		}
	}()
	send := p.sendEach
	if batch {
		send = p.sendBatch
	}
	err := p.pace(ctx, send)
	p.report.Seconds = time.Since(p.counted).Seconds()
	close(p.futures)
	<-done
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p.report)
}

// pace sends what is due, about every millisecond.
func (p *publisher) pace(ctx context.Context, send func(ctx context.Context, from, to int) error) error {
	p.began = time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < p.s.total(); {
		due := p.due()
		if p.counted.IsZero() && due > p.s.first() {
			p.counted = time.Now()
			fmt.Println(measuring)
		}
		if due > sent {
			if err := send(ctx, sent, due); err != nil {
				return err
			}
			p.report.Late = max(p.report.Late, p.behind(due))
			sent = due
		}
		if p.s.Backlog {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// most is how many are sent at once.
const most = 500

func (p *publisher) due() int {
	if p.s.Backlog {
		return min(p.report.Published+most, p.s.total())
	}
	due := int(time.Since(p.began).Seconds() * float64(p.s.Rate))
	return min(due, p.report.Published+most, p.s.total())
}

// behind is how many seconds behind the pace the event before due is.
func (p *publisher) behind(due int) float64 {
	if p.s.Backlog {
		return 0
	}
	return time.Since(p.began).Seconds() - float64(due)/float64(p.s.Rate)
}

func (p *publisher) message(i int) (*nats.Msg, int) {
	s := p.next(i)
	p.report.Published++
	return &nats.Msg{Subject: events.Names{}.Subject(survey(s)), Header: nats.Header{}, Data: newEvent(i, s, time.Now())}, s
}

// sendEach publishes each event by itself, with the message id that publishers
// are told to use; another publisher's events are others.
func (p *publisher) sendEach(_ context.Context, from, to int) error {
	for i := from; i < to; i++ {
		msg, s := p.message(i)
		ack, err := p.js.PublishMsgAsync(msg, jetstream.WithMsgID(fmt.Sprintf("%x-%d", p.began.UnixNano(), i)))
		if err != nil {
			return fmt.Errorf("publish event %d: %w", i, err)
		}
		p.futures <- future{i, s, ack}
	}
	return nil
}

// sendBatch publishes events with one write.
func (p *publisher) sendBatch(ctx context.Context, from, to int) error {
	msgs, surveys := make([]*nats.Msg, to-from), make([]int, to-from)
	for n := range msgs {
		msgs[n], surveys[n] = p.message(from + n)
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, p.js, msgs)
	if err != nil {
		return fmt.Errorf("publish events %d to %d: %w", from, to, err)
	}
	for n, s := range surveys {
		p.confirm(from+n, s, ack.Sequence-uint64(to-from-1-n)) //nolint:gosec // small and positive
	}
	return nil
}

func (p *publisher) await(f future) {
	select {
	case ack := <-f.ack.Ok():
		p.confirm(f.i, f.survey, ack.Sequence)
	case err := <-f.ack.Err():
		fmt.Fprintf(os.Stderr, "event %d was not stored: %v\n", f.i, err)
	}
}

func (p *publisher) confirm(i, survey int, seq uint64) {
	p.report.Acked++
	p.report.InOrder = p.report.InOrder && seq == uint64(i)+1 //nolint:gosec // never negative
	if i >= p.s.first() && p.s.kind(survey) == healthy {
		p.report.Healthy++
	}
}
