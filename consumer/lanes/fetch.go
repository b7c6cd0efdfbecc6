package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/consumer/internal/leader"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/events"
)

const (
	comeTime  = 2 * time.Second // a leader may take to store what another server of the cluster has stored
	comePause = 20 * time.Millisecond
)

// fetch reads an event's copy; a nil one is gone.
func (o *Owner) fetch(ctx context.Context, survey events.Survey, seq uint64) (*Waiting, error) {
	for until := time.Now().Add(comeTime); ; {
		w, err := o.fetchOnce(ctx, survey, seq)
		if !errors.Is(err, errNotYet) || time.Now().After(until) {
			return w, err
		}
		wait.For(ctx, comePause)
	}
}

func (o *Owner) fetchOnce(ctx context.Context, survey events.Survey, seq uint64) (*Waiting, error) {
	msg, err := o.stored(ctx, seq)
	if err == nil && msg.Seq == 0 {
		if err = o.surelyGone(ctx, seq); err == nil {
			return nil, nil //nolint:nilnil // it is gone: nothing, and nothing wrong
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fetch parked event %d: %w", seq, err)
	}
	h, err := msg.Headers()
	if err != nil {
		return nil, fmt.Errorf("fetch parked event %d: %w", seq, err)
	}
	w, err := read(h, msg.Data)
	w.Survey = survey
	return &w, err
}

// stored is an event's copy as the lanes stream's leader has it.
func (o *Owner) stored(ctx context.Context, seq uint64) (leader.Message, error) {
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
	switch msg, err := o.stored(ctx, seq); {
	case err != nil:
		return err
	case msg.Seq != 0:
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
