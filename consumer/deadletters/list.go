package deadletters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
)

// List gives the letters that are meant, oldest first, as they stood when it
// began. It holds one page of headers in memory, and one body when bodies are
// wanted.
//
// An [*Unreadable] error concerns one letter, of which only Sequence and Buried
// are known, and so does [ErrNoLetter], given for a sequence that was asked for
// by number: the next one follows. Any other error is the last thing given.
func (s *Store) List(ctx context.Context, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		stream, err := s.stream(ctx)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		n := 0
		for l, err := range s.heads(ctx, stream, f) {
			if err == nil && !f.wants(l) {
				continue
			}
			if err == nil && f.Bodies && l.Body == nil && !l.ByReference {
				l, err = get(ctx, stream, l.Sequence)
			}
			if errors.Is(err, ErrNoLetter) && len(f.Sequences) == 0 {
				continue // removed meanwhile
			}
			n++
			if !yield(l, err) || n == f.Limit || err != nil && !single(err) {
				return
			}
		}
	}
}

// single says whether an error concerns one letter only.
func single(err error) bool {
	return errors.As(err, new(*Unreadable)) || errors.Is(err, ErrNoLetter)
}

// heads gives the letters without judging them, most of them without bodies.
func (s *Store) heads(ctx context.Context, stream jetstream.Stream, f Filter) iter.Seq2[Letter, error] {
	if len(f.Sequences) == 0 {
		return s.scan(ctx, f)
	}
	return func(yield func(Letter, error) bool) {
		for _, seq := range f.Sequences {
			l, err := get(ctx, stream, seq)
			if !yield(l, err) {
				return
			}
		}
	}
}

// Get reads one letter with its body; the body of a letter by reference is left
// where it stands. The error is [ErrNoLetter] or an [*Unreadable], among others.
func (s *Store) Get(ctx context.Context, seq uint64) (Letter, error) {
	stream, err := s.stream(ctx)
	if err != nil {
		return Letter{}, err
	}
	return get(ctx, stream, seq)
}

func get(ctx context.Context, stream jetstream.Stream, seq uint64) (Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	raw, err := stream.GetMsg(ctx, seq)
	if gone(err) {
		return Letter{Sequence: seq}, fmt.Errorf("read dead letter %d: %w", seq, ErrNoLetter)
	}
	if err != nil {
		return Letter{Sequence: seq}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	l, err := parse(seq, raw.Header)
	l.Buried = raw.Time
	if err != nil || l.ByReference {
		return l, err
	}
	l.Body = raw.Data
	if l.Body == nil {
		l.Body = []byte{}
	}
	return l, nil
}

// Body gives the event's bytes: the letter's own, or those it refers to when
// they still stand in the event stream unchanged; otherwise the error is
// [ErrNoBody].
func (s *Store) Body(ctx context.Context, l Letter) ([]byte, error) {
	if !l.ByReference {
		return s.ownBody(ctx, l)
	}
	stream, err := s.js.Stream(ctx, l.Stream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", l.Stream, err)
	}
	raw, err := stream.GetMsg(ctx, l.Source)
	if gone(err) {
		return nil, fmt.Errorf("read event at %s %d: %w", l.Stream, l.Source, ErrNoBody)
	}
	if err != nil {
		return nil, fmt.Errorf("read event at %s %d: %w", l.Stream, l.Source, err)
	}
	if sum := sha256.Sum256(raw.Data); hex.EncodeToString(sum[:]) != l.SHA256 {
		return nil, fmt.Errorf("another event stands at %s %d now: %w", l.Stream, l.Source, ErrNoBody)
	}
	return raw.Data, nil
}

func (s *Store) ownBody(ctx context.Context, l Letter) ([]byte, error) {
	if l.Body != nil {
		return l.Body, nil
	}
	l, err := s.Get(ctx, l.Sequence)
	return l.Body, err
}

// scan reads the headers of every letter that stood in the stream when it began.
// Letters buried meanwhile are not read: a letter redriven and buried again
// would otherwise come round for ever.
func (s *Store) scan(ctx context.Context, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		o := walk.Options{Since: f.Since}
		if subject := f.subject(s.names); subject != "" {
			o.Subjects = []string{subject}
		}
		for m, err := range walk.Stream(ctx, s.js, s.names.DeadLetters(), o) {
			if err != nil {
				yield(Letter{}, err)
				return
			}
			if f.ended(m.Time) {
				return
			}
			l, err := parse(m.Sequence, m.Header)
			l.Buried = m.Time
			if !yield(l, err) {
				return
			}
		}
	}
}
