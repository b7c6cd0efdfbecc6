package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/delivery/panics"
)

// Tally counts letters.
type Tally struct {
	Letters int   `json:"letters"`           // redriven, removed, or found when only counting
	Bytes   int64 `json:"bytes"`             // of their bodies
	Failed  int   `json:"failed,omitempty"`  // still there, or there twice: see the error each was reported with
	Skipped int   `json:"skipped,omitempty"` // of another format, left alone
}

// Count counts the letters that are meant, without their bodies.
func (s *Store) Count(ctx context.Context, f Filter) (Tally, error) {
	return s.each(ctx, f, nil, func(context.Context, jetstream.Stream, Letter) error { return nil })
}

// Redrive hands every letter that is meant back to publish, with its body, and
// removes it once publish has returned nil. publish must have stored the event
// durably by then; it is called from several goroutines at once. A crash in
// between, or a removal whose answer is lost, leaves the event in both places.
//
// A letter that fails stays, and the others go on. progress, when given, hears
// of each letter, one call at a time. The error is what ended the reading early;
// what was counted so far stands.
func (s *Store) Redrive(ctx context.Context, f Filter, publish func(context.Context, Letter) error, progress func(Letter, error)) (Tally, error) {
	return s.each(ctx, f, progress, func(ctx context.Context, stream jetstream.Stream, l Letter) error {
		l, err := s.whole(ctx, stream, l)
		if err != nil {
			return err
		}
		if err := publish(ctx, l); err != nil {
			return fmt.Errorf("redrive dead letter %d: %w", l.Sequence, err)
		}
		if err := s.remove(ctx, stream, l.Sequence); err != nil {
			return fmt.Errorf("handed back, but still here: %w", err)
		}
		return nil
	})
}

// whole reads a letter anew, with its body.
func (s *Store) whole(ctx context.Context, stream jetstream.Stream, l Letter) (Letter, error) {
	var err error
	if l.Body == nil && !l.ByReference {
		return get(ctx, stream, l.Sequence)
	}
	l.Body, err = s.Body(ctx, l)
	return l, err
}

// Purge removes every letter that is meant, for good. With dryRun it only counts
// them. Letters of another format are left alone.
func (s *Store) Purge(ctx context.Context, f Filter, dryRun bool) (Tally, error) {
	if dryRun {
		return s.Count(ctx, f)
	}
	return s.each(ctx, f, nil, func(ctx context.Context, stream jetstream.Stream, l Letter) error {
		return s.remove(ctx, stream, l.Sequence)
	})
}

// each does something with every letter that is meant, several at once. Its
// error is what ended the reading, the first letter's that failed when nobody else
// is told, and the first panic's.
func (s *Store) each(ctx context.Context, f Filter, progress func(Letter, error), do func(context.Context, jetstream.Stream, Letter) error) (Tally, error) {
	stream, err := s.stream(ctx)
	if err != nil {
		return Tally{}, err
	}
	f.Bodies = false
	var (
		mu      sync.Mutex // guards what follows but ended, and lets one call of progress in at a time
		tally   Tally
		first   error // of a letter that failed, when nobody else is told
		mistake error // the first panic's
		ended   error // what ended the reading; only written by it
	)
	report := func(l Letter, err error) {
		mu.Lock()
		defer mu.Unlock()
		tally.count(l, err)
		if progress != nil {
			progress(l, err)
		}
		switch {
		case errors.As(err, new(*panics.Panic)):
			mistake = cmp.Or(mistake, err)
		case progress == nil && !errors.As(err, new(*Unreadable)):
			first = cmp.Or(first, err)
		}
	}
	found := func(yield func(Letter) bool) {
		for l, err := range s.List(ctx, f) {
			switch {
			case err != nil && single(err):
				report(l, err)
			case err != nil:
				ended = err
			case !yield(l):
				return
			}
		}
	}
	panicked := spread(found, func(l Letter) { report(l, surviving(l, func() error { return do(ctx, stream, l) })) })
	return tally, errors.Join(ended, first, mistake, panicked)
}

// surviving does something with a letter. A panic over it is its error, and says which
// letter that was.
func surviving(l Letter, do func() error) error {
	var unheard *panics.Guard // it is told with the error
	err := unheard.Try(panics.PlaceRun, do)
	if errors.As(err, new(*panics.Panic)) {
		return fmt.Errorf("dead letter %d: %w", l.Sequence, err)
	}
	return err
}

// count adds one letter's end. A letter that vanished meanwhile was somebody
// else's to count.
func (t *Tally) count(l Letter, err error) {
	switch {
	case err == nil:
		t.Letters++
		t.Bytes += int64(l.Bytes)
	case errors.As(err, new(*Unreadable)):
		t.Skipped++
	case !errors.Is(err, ErrNoLetter):
		t.Failed++
	}
}
