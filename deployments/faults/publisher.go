package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

// How a publisher behaves: it says an event's id to the stream, and says it again
// until it is acknowledged.
const (
	onTheWay     = 1500 // events at once; while the stream takes none, no more are made
	publishTime  = 2 * time.Second
	publishTries = 10
)

// publisher publishes events at a pace, each to a survey by chance.
type publisher struct {
	js   jetstream.JetStream
	l    *ledger
	rate int
	rng  *rand.Rand
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// startPublisher publishes until it is ended.
func startPublisher(ctx context.Context, js jetstream.JetStream, l *ledger, rate int, seed int64) *publisher {
	ctx, stop := context.WithCancel(ctx)
	p := &publisher{js: js, l: l, rate: rate, rng: rand.New(rand.NewPCG(uint64(seed), 1)), stop: stop} //nolint:gosec // chance that can be repeated
	p.wg.Go(func() { p.run(ctx) })
	return p
}

// end stops publishing, and returns when what was on its way has its answer.
func (p *publisher) end() {
	p.stop()
	p.wg.Wait()
}

func (p *publisher) run(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	room := make(chan struct{}, onTheWay)
	due, last := 0.0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			due += now.Sub(last).Seconds() * float64(p.rate)
			last = now
		}
		for ; due >= 1; due-- {
			select {
			case room <- struct{}{}:
			default:
				continue // made by nobody
			}
			i, s := p.make()
			p.wg.Go(func() {
				p.publish(ctx, i, s)
				<-room
			})
		}
	}
}

func (p *publisher) make() (i, survey int) {
	survey = p.rng.IntN(surveys)
	return p.l.next(survey), survey
}

// publish says one event until it is acknowledged.
func (p *publisher) publish(ctx context.Context, i, survey int) {
	ctx = context.WithoutCancel(ctx)
	msg := &nats.Msg{Subject: events.Names{}.Subject(surveyID(survey)), Data: p.l.body(i)}
	for range publishTries {
		if seq, err := p.once(ctx, msg, i); err == nil {
			p.l.acked(i, seq)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	p.l.notAcked()
}

func (p *publisher) once(ctx context.Context, msg *nats.Msg, i int) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	msg.Header = nil
	ack, err := p.js.PublishMsg(ctx, msg, jetstream.WithMsgID(p.l.id(i)), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

var filler = strings.Repeat("x", 300)

// bodyOf is the event of a survey that is made at a moment: always the same bytes.
func bodyOf(id string, survey int, made time.Time) []byte {
	return fmt.Appendf(nil, `{"event":"response.completed","timestamp":"%s","origin":"web","survey":{"id":"%s","name":"Customer Satisfaction Survey"},"response":{"id":"%s","answers":[{"questionId":"q1","value":"%s"}],"customParams":{},"completedAt":"2024-01-22T12:00:00.000Z"}}`,
		made.UTC().Format(time.RFC3339Nano), surveyID(survey), id, filler)
}
