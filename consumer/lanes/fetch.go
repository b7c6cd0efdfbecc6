package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/events"
	"github.com/popsee/webhooks/events/leader"
)

const (
	comeTime  = 2 * time.Second // a leader may take to store what another server of the cluster has stored
	comePause = 20 * time.Millisecond
	nearTime  = time.Second // for what takes a millisecond: a user without the right to ask gets no answer at all
)

// errAnother says that a sequence has been used again: the lanes stream was lost, and
// made anew or restored from an older copy. What stands there is another event's, perhaps
// another customer's.
var errAnother = errors.New("another event stands there: the lanes stream is not the one that was read")

// fetch reads an event's copy; a nil one is gone.
func (o *Owner) fetch(ctx context.Context, survey events.Survey, e entry) (*Waiting, error) {
	for until := time.Now().Add(comeTime); ; {
		w, err := o.fetchOnce(ctx, survey, e)
		if !errors.Is(err, errNotYet) || time.Now().After(until) {
			return w, err
		}
		wait.For(ctx, comePause)
	}
}

func (o *Owner) fetchOnce(ctx context.Context, survey events.Survey, e entry) (*Waiting, error) {
	msg, err := o.copied(ctx, e.seq)
	if err == nil && msg.Sequence == 0 {
		if err = o.surelyGone(ctx, e.seq); err == nil {
			return nil, nil //nolint:nilnil // it is gone: nothing, and nothing wrong
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fetch parked event %d: %w", e.seq, err)
	}
	w, err := read(msg.Header, msg.Data) // what is in an index could be read once
	if err != nil || msg.Subject != o.o.Names.LaneSubject(survey) || !e.is(w) {
		return nil, fmt.Errorf("fetch parked event %d: %w", e.seq, errAnother)
	}
	w.Survey = survey
	return &w, nil
}

// stands says whether an event's copy is still where it was.
func (o *Owner) stands(ctx context.Context, survey events.Survey, e entry) (bool, error) {
	w, err := o.fetch(ctx, survey, e)
	if errors.Is(err, errAnother) {
		return false, nil
	}
	return w != nil, err
}

// copied is an event's copy. Where only one server has the lanes stream it is read
// from there directly, for less than half of the CPU time that the way over the API
// takes (measured); what keeps that from working does not keep the event.
func (o *Owner) copied(ctx context.Context, seq uint64) (leader.Message, error) {
	if near := o.near.Load(); near != nil {
		m, err := readNear(ctx, *near, seq)
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		o.near.CompareAndSwap(near, nil) // until a feed looks at the stream again
	}
	return o.led(ctx, seq)
}

func readNear(ctx context.Context, stream jetstream.Stream, seq uint64) (leader.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, nearTime)
	defer cancel()
	msg, err := stream.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return leader.Message{}, nil
	case err != nil:
		return leader.Message{}, err
	}
	return leader.Message{Sequence: msg.Sequence, Subject: msg.Subject, Time: msg.Time, Header: msg.Header, Data: msg.Data}, nil
}

// lookNear notes whether copies can be read directly. Where several servers have the
// stream, one that has not heard of a removal would give what was delivered.
func (o *Owner) lookNear(stream jetstream.Stream) {
	cfg := stream.CachedInfo().Config
	if cfg.AllowDirect && cfg.Replicas <= 1 {
		o.near.Store(&stream)
	} else {
		o.near.Store(nil)
	}
}

// led is an event's copy as the lanes stream's leader has it.
func (o *Owner) led(ctx context.Context, seq uint64) (leader.Message, error) {
	return leader.Read(ctx, o.js, o.o.Names.Lanes(), leader.Question{Seq: seq})
}

// errNotYet says that a copy is not where it is to be read from, and perhaps not
// there yet.
var errNotYet = errors.New("the leader of the lanes stream may not have come to it yet")

// surelyGone insists that a copy which was not found has been removed. In a cluster
// the feed may read from a server that has stored it a moment before the leader,
// and a new leader answers before it has stored all that was confirmed. So what the
// leader does not have is gone only when that leader had come past it, and still
// led after it was asked.
func (o *Owner) surelyGone(ctx context.Context, seq uint64) error {
	before, last, err := o.leads(ctx)
	if err != nil {
		return err
	}
	if last < seq {
		return errNotYet
	}
	switch msg, err := o.led(ctx, seq); {
	case err != nil:
		return err
	case msg.Sequence != 0:
		return errNotYet
	}
	after, _, err := o.leads(ctx)
	if err == nil && before != after {
		err = errNotYet
	}
	return err
}

// leads is who leads the lanes stream, and how far it has come; nobody leads on a
// single server.
func (o *Owner) leads(ctx context.Context) (who string, last uint64, err error) {
	stream, err := o.js.Stream(ctx, o.o.Names.Lanes())
	if err != nil {
		return "", 0, err
	}
	info := stream.CachedInfo()
	if info.Cluster != nil {
		who = info.Cluster.Leader
	}
	return who, info.State.LastSeq, nil
}
