package health

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// Look reads one survey's record from the bucket, once. known is false when there
// is nothing to say, or what is there was written by a newer version.
func Look(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey) (r Record, known bool, err error) {
	kv, err := js.KeyValue(ctx, names.Health())
	if err != nil {
		return Record{}, false, fmt.Errorf("open bucket %s: %w", names.Health(), err)
	}
	e, err := kv.Get(ctx, string(survey))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the health of survey %s: %w", survey, err)
	}
	r, err = decode(e.Value())
	return r, err == nil, nil
}

// List reads every record there is, once, as they stand in the bucket. Those of a
// newer version are left out. An error is the last thing given.
func List(ctx context.Context, js jetstream.JetStream, names events.Names) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		watching, stop := context.WithCancel(ctx)
		defer stop()
		w, err := watchOnce(watching, js, names)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer func() {
			stop()
			for range w.Updates() { // the watch may be waiting to write
			}
		}()
		for e := range w.Updates() {
			if e == nil {
				return // all that was there when the watch began
			}
			if r, err := decode(e.Value()); err == nil && !yield(Entry{events.Survey(e.Key()), r}, nil) {
				return
			}
		}
		yield(Entry{}, errors.Join(ctx.Err(), errWatchClosed))
	}
}

// Entry is one survey's record.
type Entry struct {
	Survey events.Survey
	Record
}

var errWatchClosed = errors.New("list the health of endpoints: the watch was closed")

func watchOnce(ctx context.Context, js jetstream.JetStream, names events.Names) (jetstream.KeyWatcher, error) {
	kv, err := walk.Bucket(ctx, js, names.Health())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", names.Health(), err)
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", names.Health(), err)
	}
	return w, nil
}

// Waive gives up, for one survey, every owed event below a sequence of the event
// stream. Those from there on stay promised: replicas may have let them go
// already. It says whether anything was owed.
//
// A disabled endpoint's lane renews its promise from failing_from on, so that is
// moved as well.
func Waive(ctx context.Context, js jetstream.JetStream, names events.Names, survey events.Survey, below uint64) (owed bool, err error) {
	b := &Board{js: js, bucket: names.Health(), stream: names.Stream()}
	err = b.change(ctx, survey, func(r *Record) {
		owed = r.OwedFrom != 0 && r.OwedFrom < below
		r.raise(below)
		if r.From != 0 {
			r.From = max(r.From, below)
		}
	})
	return owed, err
}
