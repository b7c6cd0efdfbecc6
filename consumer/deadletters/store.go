package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

const (
	answerTime = 5 * time.Second // how long one answer of the server is waited for
	workers    = 64              // letters on their way at once: the server stores several per disk write
)

// Store is the dead letter stream. It holds nothing in memory and is safe for
// concurrent use.
type Store struct {
	js    jetstream.JetStream
	names events.Names
}

// New returns the store of a deployment. It opens nothing and needs no closing.
func New(js jetstream.JetStream, names events.Names) *Store {
	return &Store{js: js, names: names}
}

func (s *Store) stream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := s.js.Stream(ctx, s.names.DeadLetters())
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", s.names.DeadLetters(), err)
	}
	return stream, nil
}

// remove deletes one letter; one that is already gone is no error. It goes on
// when ctx ends, because what it follows has happened already.
func (s *Store) remove(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	err := stream.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// A refusal does not say why in a form that code could read.
	if _, look := stream.GetMsg(ctx, seq); gone(look) {
		return nil
	}
	return fmt.Errorf("remove dead letter %d: %w", seq, err)
}

// The server's codes for a sequence that holds no message.
const (
	codeNoMessage        jetstream.ErrorCode = 10037
	codeSequenceNotFound jetstream.ErrorCode = 10043
)

func gone(err error) bool {
	return errors.Is(err, jetstream.ErrMsgNotFound) || layout.RefusedWith(err, codeNoMessage, codeSequenceNotFound)
}

// spread does what is to be done for every item, several at once, and returns
// when all of it is done. The error is a panic's, which kept nothing from being done
// but its own item.
func spread[T any](items iter.Seq[T], do func(T)) error {
	feed, panicked := make(chan T), make([]error, workers)
	var wg sync.WaitGroup
	for i := range panicked {
		wg.Go(func() {
			var unheard *panics.Guard // it is told with the error
			for item := range feed {
				if err := unheard.Try(panics.PlaceRun, func() error { do(item); return nil }); err != nil {
					panicked[i] = err
				}
			}
		})
	}
	for item := range items {
		feed <- item
	}
	close(feed)
	wg.Wait()
	return cmp.Or(panicked...)
}
