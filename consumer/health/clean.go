package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// A record that goes leaves a marker, by which whoever watches hears of it. NATS keeps it
// for ever, and everybody who begins to watch reads it again, this board once a minute. So
// one that is old is removed. Every replica does; mostly one finds them first.
const (
	markerFor  = 24 * time.Hour   // who was cut off for no longer hears of what went meanwhile
	cleanEvery = 10 * time.Minute // also where it fails: the right to may be missing
	cleanMost  = 1000             // at once; 144,000 a day
	cleanTime  = time.Minute      // for all of them
	cleanAsk   = 5 * time.Second  // for one: without the right to there is no answer
)

// marker is what a survey's record has left.
type marker struct {
	survey   events.Survey
	revision uint64
}

// note notes a marker that may be removed.
func (p *pass) note(e jetstream.KeyValueEntry) {
	if e.Operation() != jetstream.KeyValuePut && time.Since(e.Created()) > markerFor && len(p.old) < cleanMost {
		p.old = append(p.old, marker{events.Survey(e.Key()), e.Revision()})
	}
}

// cleanSoon removes markers beside the watch, which must not wait for that.
func (b *Board) cleanSoon(ctx context.Context, old []marker) {
	now := time.Now()
	if len(old) == 0 || now.Before(b.cleanAt) {
		return
	}
	b.cleanAt = now.Add(cleanEvery)
	created := b.created
	b.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, cleanTime)
		defer cancel()
		err := b.o.Panics.Try(panics.PlaceHealth, func() error { return b.clean(ctx, old, created) })
		if err != nil && !errors.Is(err, context.Canceled) {
			b.quiet.Warn(err, "what says of endpoints that they work again could not be removed after a day; tried again; webhooks doctor says whether a right is missing")
		}
	})
}

// clean removes markers of the bucket that was made at a time.
func (b *Board) clean(ctx context.Context, old []marker, created time.Time) error {
	stream, err := b.js.Stream(ctx, "KV_"+b.bucket)
	if err != nil {
		return fmt.Errorf("look at bucket %s: %w", b.bucket, err)
	}
	if !stream.CachedInfo().Created.Equal(created) {
		return nil // what was read is of another bucket
	}
	for _, m := range old {
		if err := b.remove(ctx, stream, m); err != nil {
			return fmt.Errorf("remove what the health record of survey %s has left in bucket %s: %w", m.survey, b.bucket, err)
		}
	}
	b.o.Log.Debug().Str("bucket", b.bucket).Int("markers", len(old)).Msg("old markers of records that went were removed")
	return nil
}

// remove removes a marker: what stands on its subject up to its sequence, so that a record
// that was written since stays. A bucket lets nobody delete a message, but purge. It is
// looked at right before: in a bucket that was restored, or made anew this moment, a
// record of the same survey may stand below that sequence.
func (b *Board) remove(ctx context.Context, stream jetstream.Stream, m marker) error {
	ctx, cancel := context.WithTimeout(ctx, cleanAsk)
	defer cancel()
	there, err := b.stands(ctx, stream, m)
	if err != nil || !there {
		return err // where it is gone another replica was first
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(b.subject(m.survey)), jetstream.WithPurgeSequence(m.revision+1))
}

// stands says whether a marker is still the last that was written of its survey.
func (b *Board) stands(ctx context.Context, stream jetstream.Stream, m marker) (bool, error) {
	last, err := stream.GetLastMsgForSubject(ctx, b.subject(m.survey))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return false, nil
	case err != nil:
		return false, err
	default:
		return last.Sequence == m.revision && last.Header.Get("KV-Operation") != "", nil
	}
}

// subject is where a survey's record stands in the bucket's stream.
func (b *Board) subject(survey events.Survey) string { return "$KV." + b.bucket + "." + string(survey) }
