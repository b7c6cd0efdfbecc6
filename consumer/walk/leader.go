package walk

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events/leader"
)

// Left asks the stream's leader whether it holds anything between two sequences,
// both included, on any of these subjects; none means all. A consumer cannot answer
// that: on a cluster it stands on a server that may not have heard of the latest
// messages yet, and says that none are pending.
func Left(ctx context.Context, js jetstream.JetStream, stream string, subjects []string, from, to uint64) (bool, error) {
	for _, s := range orAll(subjects) {
		m, err := ask(ctx, js, stream, leader.Question{Seq: max(from, 1), NextFor: s})
		if err != nil {
			return false, err
		}
		if m.Sequence != 0 && m.Sequence <= to {
			return true, nil
		}
	}
	return false, nil
}

// orAll is the subjects, or where there are none the one that is all of them.
func orAll(subjects []string) []string {
	if len(subjects) == 0 {
		return []string{">"}
	}
	return subjects
}

// ask is bounded, whatever the walk has time for.
func ask(ctx context.Context, js jetstream.JetStream, stream string, q leader.Question) (leader.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return leader.Read(ctx, js, stream, q)
}

// errLagging says that the reader knew of less than there is.
var errLagging = errors.New("the reader had not heard of everything")

// ended looks behind an end that a reader found, at what the leader holds.
func (w *walker) ended(ctx context.Context, filters []string) error {
	if w.next > w.end {
		return errEnough
	}
	var left bool
	var err error
	if w.next == 0 && !w.o.Since.IsZero() {
		left, err = w.leftSince(ctx, filters)
	} else {
		left, err = Left(ctx, w.js, w.name, filters, w.next, w.end)
	}
	switch {
	case err != nil:
		return err
	case left:
		return errLagging
	}
	return errEnough
}

// leftSince says whether the last message there is should have been read. It cannot
// be asked for by time what follows a sequence; what came after the walk began says nothing.
func (w *walker) leftSince(ctx context.Context, filters []string) (bool, error) {
	for _, s := range orAll(filters) {
		m, err := ask(ctx, w.js, w.name, leader.Question{LastFor: s})
		if err != nil {
			return false, err
		}
		if m.Sequence != 0 && m.Sequence <= w.end && !m.Time.Before(w.o.Since) {
			return true, nil
		}
	}
	return false, nil
}
