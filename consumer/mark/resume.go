package mark

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	k := New(js, l, zerolog.Nop())
	kv, err := js.KeyValue(ctx, l.Names.State())
	if err != nil {
		return 0, fmt.Errorf("open bucket %s: %w", l.Names.State(), err)
	}
	m, _, err := readMark(ctx, kv)
	if err != nil {
		return 0, err
	}
	stream, info, err := k.see(ctx)
	if err != nil {
		return 0, err
	}
	s := sightOf(stream, info)
	start, err := p.start(m, s)
	if err != nil {
		return 0, err
	}
	if err := k.rewind(ctx, stream, info, start); err != nil {
		return 0, err
	}
	// The mark follows the consumer: a crash in between leaves the alarm, and
	// the command can be run again.
	if _, err := kv.Put(ctx, markKey, newMark(start-1, s.Created, time.Now()).encode()); err != nil {
		return 0, fmt.Errorf("write the mark: %w", err)
	}
	return start, nil
}

// rewind sets the consumer's position. The server refuses a reset to before
// where the consumer was created to start; then it is created anew.
func (k *Keeper) rewind(ctx context.Context, stream *jetstream.StreamInfo, info *jetstream.ConsumerInfo, start uint64) error {
	name := k.layout.Names.Consumer()
	if info != nil {
		_, err := k.js.ResetConsumerToSequence(ctx, k.layout.Names.Stream(), name, start)
		if err == nil {
			return nil
		}
		if err := k.js.DeleteConsumer(ctx, k.layout.Names.Stream(), name); err != nil {
			return fmt.Errorf("delete consumer %s to create it at sequence %d: %w", name, start, err)
		}
	}
	_, err := k.create(ctx, stream, start)
	return err
}
