package deadletters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
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
		return s.scan(ctx, stream, f)
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

const (
	pageSize  = 256              // letters' headers asked for at once
	scanIdle  = 30 * time.Second // the server forgets a reader that vanished
	sizeField = "Nats-Msg-Size"  // the body's length, on a message sent without its body
)

// scan reads the headers of every letter that stood in the stream when it began.
// Letters buried meanwhile are not read: a letter redriven and buried again
// would otherwise come round for ever.
func (s *Store) scan(ctx context.Context, stream jetstream.Stream, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		end := stream.CachedInfo().State.LastSeq
		reader, err := stream.CreateConsumer(ctx, s.readerConfig(f))
		if err != nil {
			yield(Letter{}, fmt.Errorf("read %s: %w", s.names.DeadLetters(), err))
			return
		}
		defer func() { // best effort: an idle reader is forgotten anyway
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
			defer cancel()
			_ = stream.DeleteConsumer(ctx, reader.CachedInfo().Name)
		}()
		if reader.CachedInfo().NumPending == 0 {
			return
		}
		p := &pages{reader: reader, made: time.Now(), end: end}
		for p.next(ctx, f, yield) {
		}
	}
}

func (s *Store) readerConfig(f Filter) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Description:       "reads dead letters once",
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     f.subject(s.names),
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: scanIdle,
	}
	if !f.Since.IsZero() {
		cfg.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		cfg.OptStartTime = &f.Since
	}
	return cfg
}

// pages walks the letters a page at a time.
type pages struct {
	reader jetstream.Consumer
	made   time.Time // when the reader was
	read   uint64    // how many messages came so far
	end    uint64    // the last sequence wanted
}

// next gives one page, and says whether there is another.
func (p *pages) next(ctx context.Context, f Filter, yield func(Letter, error) bool) bool {
	if err := context.Cause(ctx); err != nil {
		yield(Letter{}, err)
		return false
	}
	batch, err := p.reader.FetchNoWait(pageSize)
	if err != nil {
		yield(Letter{}, fmt.Errorf("read dead letters: %w", err))
		return false
	}
	before, more := p.read, true
	for msg := range batch.Messages() {
		if more { // what is left of a page has to be taken, for its goroutine to end
			more = p.give(msg, f, yield)
		}
	}
	switch {
	case !more:
		return false
	case p.read == 0 && walk.Again(ctx, p.made, batch.Error()):
		return true
	case batch.Error() != nil:
		yield(Letter{}, fmt.Errorf("read dead letters: %w", batch.Error()))
		return false
	case p.read == before:
		return p.silent(ctx, yield)
	default:
		return true
	}
}

// give hands out one letter, and says whether more are wanted.
func (p *pages) give(msg jetstream.Msg, f Filter, yield func(Letter, error) bool) bool {
	meta, err := msg.Metadata()
	if err != nil {
		return yield(Letter{}, fmt.Errorf("read dead letters: %w", err))
	}
	if p.read++; meta.Sequence.Consumer != p.read {
		yield(Letter{}, errCut)
		return false
	}
	if meta.Sequence.Stream > p.end || f.ended(meta.Timestamp) {
		return false
	}
	l, err := head(meta, msg.Headers())
	return yield(l, err) && meta.NumPending > 0 && meta.Sequence.Stream < p.end
}

func head(meta *jetstream.MsgMetadata, h nats.Header) (Letter, error) {
	l, err := parse(meta.Sequence.Stream, h)
	l.Buried = meta.Timestamp
	return l, err
}

// silent tells an end, where the last letters were removed meanwhile, from a
// server that does not answer.
func (p *pages) silent(ctx context.Context, yield func(Letter, error) bool) bool {
	info, err := p.reader.Info(ctx)
	switch {
	case err != nil:
		yield(Letter{}, fmt.Errorf("read dead letters: %w", err))
	case info.Delivered.Consumer > p.read:
		yield(Letter{}, errCut)
	case info.NumPending > 0:
		yield(Letter{}, errors.New("read dead letters: the server does not answer"))
	}
	return false
}

// errCut says that letters were on their way and did not come.
var errCut = errors.New("read dead letters: the connection was lost in between, not all were read: begin again")
