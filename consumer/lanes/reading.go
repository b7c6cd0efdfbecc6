package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

// reading is one pass over what is owed to an endpoint, in the event stream.
type reading struct {
	survey  events.Survey
	promise health.Record
	most    int                                                                 // events kept
	meant   func(meta *jetstream.MsgMetadata) bool                              // false: this one, and all behind it, is not; nil means all
	keep    func(ctx context.Context, batch []Waiting) (last uint64, err error) // returns when they are durably elsewhere

	o       *Owner
	state   history // before the first message was read
	batch   []Waiting
	size    int // of the batch, in bytes of bodies
	scanned int
	kept    int
	so      brought
}

// errHole says that a message the server had sent did not come: it may be owed.
var errHole = errors.New("a message was lost on its way")

// read reads what is owed, from the first of it on. Its consumer lives as long as
// the pass.
func (o *Owner) read(ctx context.Context, r reading) (brought, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*askTime)
	defer cancel()
	var err error
	if r.state, err = o.history(ctx); err != nil {
		return brought{}, err
	}
	o.missed(r.survey, r.promise, r.state)
	r.o, r.so = o, brought{to: r.promise.OwedFrom, at: r.state.at}
	cons, err := o.js.CreateConsumer(ctx, o.o.Names.Stream(), jetstream.ConsumerConfig{
		Description: "reads what is owed to an endpoint", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.promise.OwedFrom,
		AckPolicy: jetstream.AckNonePolicy, FilterSubjects: layout.Filters(r.state.config, o.ownSubjects(r.state.config, r.survey)),
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err == nil {
		defer func() { _ = o.js.DeleteConsumer(ctx, o.o.Names.Stream(), cons.CachedInfo().Name) }() // it would end by itself
		err = r.run(ctx, cons)
	}
	if err != nil {
		return r.so, fmt.Errorf("read stream %s: %w", o.o.Names.Stream(), err)
	}
	return r.so, nil
}

func (r *reading) run(ctx context.Context, cons jetstream.Consumer) error {
	for r.kept < r.most && r.scanned < scanMost && !r.so.ended && !r.so.early {
		before := r.scanned
		if err := r.pull(ctx, cons); err != nil {
			return err
		}
		if r.scanned == before {
			return r.whole(ctx, cons)
		}
	}
	return nil
}

// pull reads what is there at once, and keeps it.
func (r *reading) pull(ctx context.Context, cons jetstream.Consumer) error {
	pulled, err := cons.FetchNoWait(min(batchMost, r.most-r.kept))
	if err != nil {
		return err
	}
	for msg := range pulled.Messages() {
		if err := r.one(ctx, msg); err != nil {
			return err
		}
		if r.so.ended || r.so.early {
			break
		}
	}
	if err := pulled.Error(); err != nil {
		return err
	}
	return r.flush(ctx)
}

func (r *reading) one(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	if r.scanned++; meta.Sequence.Consumer != uint64(r.scanned) { //nolint:gosec // never negative
		return errHole
	}
	if meta.Sequence.Stream > r.state.settled {
		r.so.early = true
		return nil
	}
	if !meta.Timestamp.Before(r.promise.OwedUntil.Add(skew)) || r.meant != nil && !r.meant(meta) {
		r.so.ended, r.so.at = true, meta.Timestamp
		return nil
	}
	if w, ok := r.o.owed(msg, meta, r.survey); ok && meta.Timestamp.Before(r.promise.OwedUntil) {
		r.batch, r.size, r.kept = append(r.batch, w), r.size+len(w.Body), r.kept+1
	}
	r.so.to = meta.Sequence.Stream + 1
	if r.size >= batchBytes {
		return r.flush(ctx)
	}
	return nil
}

func (r *reading) flush(ctx context.Context) error {
	last, err := r.keep(ctx, r.batch)
	r.so.stored = max(r.so.stored, last)
	r.batch, r.size = r.batch[:0], 0
	return err
}

// whole insists that a pull brought nothing because nothing was left: what an
// answer on its way was lost with would never be read again.
func (r *reading) whole(ctx context.Context, cons jetstream.Consumer) error {
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if info.Delivered.Consumer != uint64(r.scanned) { //nolint:gosec // never negative
		return errHole
	}
	switch {
	case info.NumPending > 0:
	case r.state.settled < r.state.last:
		r.so.early = true
	default:
		r.so.ended, r.so.to = true, max(r.so.to, r.state.last+1)
	}
	return nil
}
