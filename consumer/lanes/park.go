package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	parkTime = 5 * time.Second // bounds one parking. Longer, and the event better stays where it is

	// What parks within a moment is sent together, each event by itself: they share
	// system calls and wake-ups. A hundred at once are a burst that everybody else on
	// the CPU waits for; ten are none (measured).
	momentTime = 20 * time.Millisecond

	// So many at once, with those that were sent one by one and have no answer yet, are a
	// burst in any case, or more than the server takes one by one: where it syncs every
	// write, each costs a sync. They go as atomic batches, and may take their time to fill
	// one, for nobody waits for an event in a lane. For each batch the server makes a store
	// of its own with files that it syncs, which takes it as much CPU as fifty events.
	joinLeast  = 50
	gatherTime = 200 * time.Millisecond
	batchLeast = 10 // fewer are stored faster one by one, synced or not

	batchMost  = 200     // events; the server takes 1,000
	batchBytes = 4 << 20 // of bodies: the server holds a batch in memory until it is whole
	batchOpen  = 2       // at once; the server has 50 for the whole fleet, and refuses more
	singleOpen = 256
)

// ErrFull says that the lanes stream takes nothing more: events stay
// unacknowledged in the event stream until there is room.
var ErrFull = errors.New("the lanes stream is full")

// The server's codes for a stream that is full, by bytes or by messages.
const (
	codeMaxBytes    jetstream.ErrorCode = 10047 // insufficient storage
	codeStoreFailed jetstream.ErrorCode = 10077 // maximum bytes or messages exceeded
)

// Park stores an event in its survey's lane and returns when the stream has it
// durably. After an error nothing may be let go: the copy may be stored or not,
// and parking the event again is recognised by its source and its publication.
func Park(ctx context.Context, js jetstream.JetStream, names events.Names, w Waiting) error {
	_, err := parkOne(ctx, js, names, w)
	return err
}

// parkOne is [Park] that returns where in the lanes stream the copy stands.
func parkOne(ctx context.Context, js jetstream.JetStream, names events.Names, w Waiting) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, parkTime)
	defer cancel()
	ack, err := js.PublishMsg(ctx, w.message(names))
	if err == nil && ack.Stream != names.Lanes() {
		err = fmt.Errorf("stream %s took it, not %s", ack.Stream, names.Lanes())
	}
	if err != nil {
		return 0, parkError(w, err)
	}
	return ack.Sequence, nil
}

// parkError says which event it was about.
func parkError(w Waiting, err error) error {
	switch {
	case err == nil:
		return nil
	case layout.RefusedWith(err, codeStoreFailed, codeMaxBytes):
		err = ErrFull
	}
	return fmt.Errorf("park event %s of survey %s: %w", w.EventID, w.Survey, err)
}

// parkBatch stores many events with one write, all or none. It returns where in
// the lanes stream the last copy stands.
func parkBatch(ctx context.Context, js jetstream.JetStream, names events.Names, ws []Waiting) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, parkTime)
	defer cancel()
	msgs := make([]*nats.Msg, len(ws))
	for i, w := range ws {
		msgs[i] = w.message(names)
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, js, msgs)
	if err != nil {
		return 0, err
	}
	if ack.Stream != names.Lanes() {
		return 0, fmt.Errorf("stream %s took it, not %s", ack.Stream, names.Lanes())
	}
	return ack.Sequence, nil
}

// Parker gathers what must park within a moment, and decides how it is stored.
type Parker struct {
	js      jetstream.JetStream
	names   events.Names
	panics  *panics.Guard
	in      chan *parking
	batches chan struct{} // one each open batch
	singles chan struct{} // one each event that is stored by itself
}

// parking is one event that wants to be parked.
type parking struct {
	Waiting
	done chan error // capacity one
}

// NewParker returns a parker; nothing is parked before [Parker.Run].
func NewParker(js jetstream.JetStream, names events.Names, guard *panics.Guard) *Parker {
	return &Parker{
		js: js, names: names, panics: guard, in: make(chan *parking, batchMost),
		batches: make(chan struct{}, batchOpen), singles: make(chan struct{}, singleOpen),
	}
}

// Park is [Park] together with whatever else parks at the moment.
func (p *Parker) Park(ctx context.Context, w Waiting) error {
	ctx, cancel := context.WithTimeout(ctx, 2*parkTime)
	defer cancel()
	one := &parking{Waiting: w, done: make(chan error, 1)}
	select {
	case p.in <- one:
	case <-ctx.Done():
		return parkError(w, context.Cause(ctx))
	}
	select {
	case err := <-one.done:
		return err
	case <-ctx.Done():
		return parkError(w, context.Cause(ctx))
	}
}

// Run parks until ctx ends, which must be after the last [Parker.Park].
func (p *Parker) Run(ctx context.Context) {
	for {
		select {
		case one := <-p.in:
			if batch, together := p.gather(one); together && len(batch) >= batchLeast {
				p.store(ctx, batch)
			} else {
				p.each(ctx, batch)
			}
		case <-ctx.Done():
			return
		}
	}
}

// gather waits a moment for others, and longer where they are better stored together.
func (p *Parker) gather(first *parking) (batch []*parking, together bool) {
	batch, size := []*parking{first}, len(first.Body)
	timer := time.NewTimer(momentTime)
	defer timer.Stop()
	for len(batch) < batchMost && size < batchBytes {
		select {
		case one := <-p.in:
			batch = append(batch, one)
			size += len(one.Body)
		case <-timer.C:
			if together || len(batch)+len(p.singles) < joinLeast {
				return batch, together
			}
			together = true
			timer.Reset(gatherTime - momentTime)
		}
	}
	return batch, true
}

// store stores events with one write and does not wait for it, unless too much is
// being stored already.
func (p *Parker) store(ctx context.Context, batch []*parking) {
	p.batches <- struct{}{}
	go func() {
		err := p.panics.Try(panics.PlacePark, func() error {
			ws := make([]Waiting, len(batch))
			for i, one := range batch {
				ws[i] = one.Waiting
			}
			_, err := parkBatch(ctx, p.js, p.names, ws)
			return err
		})
		<-p.batches
		if err != nil {
			// The server does not say which event it was about, or had too many batches.
			p.each(ctx, batch)
			return
		}
		for _, one := range batch {
			one.done <- nil
		}
	}()
}

// each stores each event by itself, and does not wait for it either.
func (p *Parker) each(ctx context.Context, batch []*parking) {
	for _, one := range batch {
		p.singles <- struct{}{}
		go func() {
			defer func() { <-p.singles }()
			one.done <- p.panics.Try(panics.PlacePark, func() error { return Park(ctx, p.js, p.names, one.Waiting) })
		}()
	}
}
