package mark

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/layout"
)

// ResumePoint is where an operator lets the live consumer go on after an alarm.
type ResumePoint struct {
	text string
	seq  uint64 // 0 unless a sequence was given
}

// ParseResumePoint reads "mark", "first", "new" or a stream sequence.
func ParseResumePoint(s string) (ResumePoint, error) {
	switch s {
	case "mark", "first", "new":
		return ResumePoint{text: s}, nil
	}
	seq, err := strconv.ParseUint(s, 10, 64)
	if err != nil || seq == 0 {
		return ResumePoint{}, fmt.Errorf("%q is not a place to resume from: use mark, first, new or a stream sequence from 1", s)
	}
	return ResumePoint{text: s, seq: seq}, nil
}

// start is the stream sequence to deliver next.
func (p ResumePoint) start(m *mark, s sight) (uint64, error) {
	switch {
	case p.seq > 0:
		return p.seq, nil
	case p.text == "first":
		return max(s.First, 1), nil
	case p.text == "new":
		return s.Last + 1, nil
	case m == nil:
		return 0, errors.New("there is no mark to resume from: use first, new or a stream sequence")
	case !m.Created.Equal(s.Created):
		return 0, errors.New("the mark belongs to another event stream: use first, new or a stream sequence")
	default:
		return m.Floor + 1, nil
	}
}

// Resume puts the live consumer at p and writes the mark accordingly. It is
// what an operator runs after an [Alarm]; running replicas notice by
// themselves. It returns the next stream sequence that will be delivered.
func Resume(ctx context.Context, js jetstream.JetStream, l layout.Layout, p ResumePoint) (uint64, error) {
	r, err := prepare(ctx, js, l, p)
	if err != nil {
		return 0, err
	}
	if err := r.rewind(ctx); err != nil {
		return 0, err
	}
	// The mark follows the consumer: a crash in between leaves the alarm, and
	// the command can be run again.
	if _, err := r.kv.Put(ctx, markKey, newMark(r.start-1, layout.Born(r.stream), time.Now()).encode()); err != nil {
		return 0, fmt.Errorf("write the mark: %w", err)
	}
	return r.start, nil
}

// Preview returns what [Resume] would, and changes nothing.
func Preview(ctx context.Context, js jetstream.JetStream, l layout.Layout, p ResumePoint) (uint64, error) {
	r, err := prepare(ctx, js, l, p)
	if err != nil {
		return 0, err
	}
	return r.start, nil
}

// resumption is a resume that has been worked out and not yet done.
type resumption struct {
	keeper *Keeper
	kv     jetstream.KeyValue
	stream *jetstream.StreamInfo
	info   *jetstream.ConsumerInfo // nil when the consumer is missing
	start  uint64
}

func prepare(ctx context.Context, js jetstream.JetStream, l layout.Layout, p ResumePoint) (*resumption, error) {
	r := &resumption{keeper: New(js, l, zerolog.Nop())}
	var err error
	if r.kv, err = js.KeyValue(ctx, l.Names.State()); err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", l.Names.State(), err)
	}
	m, _, err := readMark(ctx, r.kv)
	if err != nil {
		return nil, err
	}
	if r.stream, r.info, err = r.keeper.see(ctx); err != nil {
		return nil, err
	}
	r.start, err = p.start(m, sightOf(r.stream, r.info))
	return r, err
}

// resetTime bounds the wait for an answer to a reset: a server answers in a moment, or
// never.
const resetTime = 5 * time.Second

// rewind sets the consumer's position. The server refuses a reset to before
// where the consumer was created to start; then it is created anew. Without an answer
// nothing else is tried: the consumer may have been moved.
func (r *resumption) rewind(ctx context.Context) error {
	stream, name := r.stream.Config.Name, r.keeper.layout.Names.Consumer()
	if r.info == nil {
		_, err := r.keeper.create(ctx, r.stream, r.start)
		return err
	}
	asking, cancel := context.WithTimeout(ctx, resetTime)
	defer cancel()
	_, err := r.keeper.js.ResetConsumerToSequence(asking, stream, name, r.start)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &unanswered{fmt.Errorf("move consumer %s of stream %s to sequence %d: no answer came within %s: %w", name, stream, r.start, resetTime, err), stream, name}
	case ctx.Err() != nil:
		return fmt.Errorf("move consumer %s to sequence %d: %w", name, r.start, err)
	}
	if err := r.keeper.js.DeleteConsumer(ctx, stream, name); err != nil {
		return fmt.Errorf("delete consumer %s to create it at sequence %d: %w", name, r.start, err)
	}
	_, err = r.keeper.create(ctx, r.stream, r.start)
	return err
}

// unanswered is a reset that nobody answered.
type unanswered struct {
	error

	stream, consumer string
}

// Hint says what may be the reason.
func (u *unanswered) Hint() string {
	return fmt.Sprintf("this user may lack the right to $JS.API.CONSUMER.RESET.%s.%s, which operator of deployments/nats/accounts.conf has; or the consumer has no leader, and a node is to be brought back first. It can be run again", u.stream, u.consumer)
}

// Unwrap gives the cause.
func (u *unanswered) Unwrap() error { return u.error }
