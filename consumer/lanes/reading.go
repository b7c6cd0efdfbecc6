package lanes

import (
	"context"

	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// reading is one pass over what is owed to an endpoint, in the event stream.
type reading struct {
	survey  events.Survey
	promise health.Record
	most    int                                                                 // events kept
	meant   func(m walk.Message) bool                                           // false: this one, and all behind it, is not; nil means all
	keep    func(ctx context.Context, batch []Waiting) (last uint64, err error) // returns when they are durably elsewhere

	o       *Owner
	state   history // before the first message was read
	batch   []Waiting
	size    int // of the batch, in bytes of bodies
	scanned int
	kept    int
	so      brought
}

// read reads what is owed, from the first of it on.
func (o *Owner) read(ctx context.Context, r reading) (brought, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*askTime)
	defer cancel()
	var err error
	if r.state, err = o.history(ctx); err != nil {
		return brought{}, err
	}
	o.missed(r.survey, r.promise, r.state)
	r.o, r.so = o, brought{to: r.promise.OwedFrom, at: r.state.at}
	err = r.run(ctx)
	return r.so, err
}

func (r *reading) run(ctx context.Context) error {
	names := r.o.o.Names
	subjects := []string{names.Subjects()[0], names.Subject(r.survey)} // its own, and the one without a survey, where it may stand among others'
	for m, err := range walk.Stream(ctx, r.o.js, names.Stream(), walk.Options{Subjects: subjects, From: r.promise.OwedFrom, Bodies: true}) {
		if err != nil {
			return err
		}
		if err := r.one(ctx, m); err != nil {
			return err
		}
		if r.so.ended || r.so.early || r.kept >= r.most || r.scanned >= scanMost {
			return r.flush(ctx)
		}
	}
	if r.state.settled < r.state.last {
		r.so.early = true
	} else {
		r.so.ended, r.so.to = true, max(r.so.to, r.state.last+1)
	}
	return r.flush(ctx)
}

func (r *reading) one(ctx context.Context, m walk.Message) error {
	r.scanned++
	switch {
	case m.Sequence > r.state.settled:
		r.so.early = true
		return nil
	case !m.Time.Before(r.promise.OwedUntil.Add(skew)) || r.meant != nil && !r.meant(m):
		r.so.ended, r.so.at = true, m.Time
		return nil
	}
	if w, ok := r.o.owed(m, r.survey); ok && m.Time.Before(r.promise.OwedUntil) {
		r.batch, r.size, r.kept = append(r.batch, w), r.size+len(w.Body), r.kept+1
	}
	r.so.to = m.Sequence + 1
	if len(r.batch) >= batchMost || r.size >= batchBytes {
		return r.flush(ctx)
	}
	return nil
}

func (r *reading) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	last, err := r.keep(ctx, r.batch)
	r.so.stored = max(r.so.stored, last)
	r.batch, r.size = r.batch[:0], 0
	return err
}
