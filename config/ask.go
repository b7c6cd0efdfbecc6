package config

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
	"github.com/popsee/webhooks/events/leader"
)

// askTime bounds asking the bucket. Longer, and the event would better go back.
const askTime = 2 * time.Second

// confirm asks the bucket's leader, and once more where it has nothing: it may be new.
func (s *Store) confirm(ctx context.Context, id events.Survey) (*compiled, error) {
	in, err := s.askLeader(ctx, id)
	if err == nil && in.kind.counts() == 0 {
		select {
		case <-time.After(newLeader):
			in, err = s.askLeader(ctx, id)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("survey %s: %w: %w", id, ErrUnavailable, err)
	}
	if in.kind.counts() == 0 {
		return nil, nil
	}
	return s.made(id, in), nil
}

// made is what an endpoint comes to that was asked for.
func (s *Store) made(id events.Survey, in stored) *compiled {
	if c := s.target(id); c != nil && c.revision == in.revision && !errors.Is(c.err, errUnloaded) {
		return c
	}
	return s.compile(id, in)
}

// errUnloaded says that an endpoint is there and not in memory.
var errUnloaded = errors.New("the endpoint is not in memory")

// fetch asks the bucket for an endpoint that is past the bound of those in memory.
// What it comes to is kept for as long as it is in use, like any other.
func (s *Store) fetch(ctx context.Context, id events.Survey) (*compiled, error) {
	in, err := s.ask(ctx, id)
	if err != nil {
		return s.confirm(ctx, id) // gone, perhaps
	}
	c := s.made(id, in)
	s.table.keep(id, c, &s.keys)
	return c, nil
}

// ask gets an endpoint from whichever server is near, and keeps it.
func (s *Store) ask(ctx context.Context, id events.Survey) (stored, error) {
	kv, generation := s.state.Load().kv, s.table.generation.Load()
	if s.closed.Load() {
		return stored{}, errClosed
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, errNoAnswer)
	defer cancel()
	entry, err := kv.Get(ctx, string(id))
	if err != nil {
		return stored{}, err
	}
	return s.found(generation, id, entry.Revision(), kindOf(entry.Key(), false, entry.Value()), entry.Value()), nil
}

// askLeader gets an endpoint from the one server that knows all that was stored, and
// keeps it. Its kind says whether there is one. While nobody leads the bucket, few ask
// in vain: what has no webhook would else have all the slots, two seconds each.
func (s *Store) askLeader(ctx context.Context, id events.Survey) (stored, error) {
	generation := s.table.generation.Load()
	switch now := time.Now().UnixNano(); {
	case s.closed.Load():
		return stored{}, errClosed
	case now < s.silent.Load():
		return stored{}, errNoAnswer
	}
	asking, cancel := context.WithTimeoutCause(ctx, askTime, errNoAnswer)
	defer cancel()
	m, err := leader.Read(asking, s.js, "KV_"+s.bucket, leader.Question{LastFor: "$KV." + s.bucket + "." + string(id)})
	if err != nil {
		if ctx.Err() == nil {
			s.silent.Store(time.Now().Add(silentTime).UnixNano())
		}
		return stored{}, err
	}
	if m.Sequence == 0 {
		return stored{kind: kindRemoved}, nil
	}
	removed := m.Header.Get("KV-Operation") != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""
	return s.found(generation, id, m.Sequence, kindOf(string(id), removed, m.Data), m.Data), nil
}

// silentTime is how long a leader that did not answer is not asked again.
const silentTime = 5 * time.Second

var (
	errClosed   = errors.New("the store is closed")
	errNoAnswer = errors.New("the bucket did not answer in time")
)

// found keeps what the bucket has said.
func (s *Store) found(generation uint32, id events.Survey, revision uint64, k kind, value []byte) stored {
	if s.table.set(generation, string(id), revision, k, value) {
		s.notes.tell(Change{Survey: id, Revision: revision, Removed: k == kindRemoved})
	}
	return stored{key: string(id), revision: revision, generation: generation, kind: k, value: value}
}
