package events

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// PublisherOptions are the choices of a [Publisher]. The zero value works.
type PublisherOptions struct {
	Names    Names // of the deployment; the zero value has no prefix
	MaxBytes int   // the deployment's event limit; 0 means MaxBytes
}

// Publisher publishes completed responses for delivery. It is safe for
// concurrent use.
type Publisher struct {
	js jetstream.JetStream
	o  PublisherOptions
}

// NewPublisher returns a publisher on a JetStream context. It opens nothing and
// needs no closing.
func NewPublisher(js jetstream.JetStream, o PublisherOptions) *Publisher {
	if o.MaxBytes == 0 {
		o.MaxBytes = MaxBytes
	}
	return &Publisher{js: js, o: o}
}

// Receipt is the stream's acknowledgement of one event.
type Receipt struct {
	ID        string `json:"id"` // the response's
	Survey    Survey `json:"survey"`
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"sequence"`
	Duplicate bool   `json:"duplicate"` // the stream had this response id already, published within the last two minutes
}

// ErrNoStream says that nothing stores what is published.
var ErrNoStream = errors.New("no stream stores these events: start `webhooks run` once, or run `webhooks provision`")

// Publish checks an event and publishes it. It returns when the stream has
// stored it durably. Publishing the same response again within two minutes, as
// after an error whose outcome is unknown, stores it once.
//
// The error is a [*BadEvent] when the bytes are not an event; nothing was sent
// then. It wraps [ErrNoStream] when no stream listens.
func (p *Publisher) Publish(ctx context.Context, body []byte) (Receipt, error) {
	e, err := p.check(body)
	if err != nil {
		return Receipt{}, err
	}
	ack, err := p.js.PublishMsg(ctx, p.message(e), jetstream.WithMsgID(e.ID))
	if err != nil {
		return Receipt{}, publishError(e, err)
	}
	return receipt(e, ack), nil
}

// check refuses what could never be delivered before it is stored.
func (p *Publisher) check(body []byte) (Event, error) {
	return p.o.Names.DecodeMax(p.o.Names.subject(base), nil, body, p.o.MaxBytes)
}

func (p *Publisher) message(e Event) *nats.Msg {
	return &nats.Msg{Subject: p.o.Names.Subject(e.Survey), Data: e.Body}
}

func receipt(e Event, ack *jetstream.PubAck) Receipt {
	return Receipt{ID: e.ID, Survey: e.Survey, Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}
}

func publishError(e Event, err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoStream
	}
	return fmt.Errorf("publish response %s: %w", e.ID, err)
}

// Summary counts what [Publisher.PublishAll] did.
type Summary struct {
	Published  int `json:"published"`
	Duplicates int `json:"duplicates"` // of Published: the stream had them already
	Refused    int `json:"refused"`    // not events; nothing was sent for them
	Failed     int `json:"failed"`     // sent, and not acknowledged: publish them again
}

// publishWindow is how many events may be sent without their acknowledgement.
// A full window keeps a server busy over any round trip; more only costs memory.
const publishWindow = 256

// sent is one event on its way.
type sent struct {
	i      int
	event  Event
	future jetstream.PubAckFuture
}

// PublishAll publishes many events, keeping up to 256 on their way, and returns
// when every one of them is acknowledged or has failed. done, when given, is
// called for each in order, from this goroutine, with its receipt or its error.
// The error is ctx's, when that ended it early: what was counted so far stands.
func (p *Publisher) PublishAll(ctx context.Context, bodies iter.Seq[[]byte], done func(i int, r Receipt, err error)) (Summary, error) {
	b := batch{done: done}
	i := 0
	for body := range bodies {
		if ctx.Err() != nil {
			break
		}
		s, err := p.send(i, body)
		b.push(ctx, s, err)
		i++
	}
	for len(b.window) > 0 {
		b.await(ctx)
	}
	return b.summary, context.Cause(ctx)
}

// send starts one event; an error that is there at once comes in the future's
// place.
func (p *Publisher) send(i int, body []byte) (sent, error) {
	e, err := p.check(body)
	if err != nil {
		return sent{i: i}, err
	}
	future, err := p.js.PublishMsgAsync(p.message(e), jetstream.WithMsgID(e.ID))
	if err != nil {
		return sent{i: i, event: e}, publishError(e, err)
	}
	return sent{i, e, future}, nil
}

// batch is a run of events on their way, oldest first.
type batch struct {
	window  []inWindow
	summary Summary
	done    func(i int, r Receipt, err error)
}

type inWindow struct {
	sent
	err error
}

func (b *batch) push(ctx context.Context, s sent, err error) {
	b.window = append(b.window, inWindow{s, err})
	if len(b.window) > publishWindow {
		b.await(ctx)
	}
}

// await waits for the oldest event's end.
func (b *batch) await(ctx context.Context) {
	s := b.window[0]
	b.window = b.window[1:]
	var r Receipt
	if s.err == nil {
		select {
		case ack := <-s.future.Ok():
			r = receipt(s.event, ack)
		case err := <-s.future.Err():
			s.err = publishError(s.event, err)
		case <-ctx.Done():
			select {
			case ack := <-s.future.Ok(): // stored before the end is stored
				r = receipt(s.event, ack)
			default:
				s.err = publishError(s.event, context.Cause(ctx))
			}
		}
	}
	b.count(r, s.err)
	if b.done != nil {
		b.done(s.i, r, s.err)
	}
}

func (b *batch) count(r Receipt, err error) {
	switch {
	case errors.As(err, new(*BadEvent)):
		b.summary.Refused++
	case err != nil:
		b.summary.Failed++
	default:
		b.summary.Published++
		if r.Duplicate {
			b.summary.Duplicates++
		}
	}
}
