package walk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
)

// untilNothingFollows is the end of a walk that takes what whoever answers holds.
const untilNothingFollows = ^uint64(0)

// directBytes bounds a page that is read without a reader.
const directBytes = 8 << 20

// barred says whether nobody answers a request for a reader because there may be none. It is so where the API of another
// account is reached, which gives a stream to read and nothing to make there: with a reader it could have the server
// publish what it reads to any subject of the stream's account. Anywhere else no answer means that a cluster has no leader
// just now, and what is read then would be taken for all there is.
func barred(js jetstream.JetStream, err error) bool {
	return js.Options().APIPrefix != "" && (errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabled))
}

// direct reads what a reader would have read, by asking for the messages. Bodies
// come along whether or not they are wanted.
func (w *walker) direct(ctx context.Context, stream jetstream.Stream, filters []string, give func(Message) bool) error {
	for {
		before := w.next
		err := w.directPage(ctx, stream, filters, give)
		switch {
		case err == nil && w.next > before:
		case err == nil, nothingFollows(err):
			switch {
			case w.end == untilNothingFollows:
				return nil
			case !w.o.Follow:
				return w.ended(ctx, filters)
			}
			wait.For(ctx, again)
		default:
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func nothingFollows(err error) bool {
	return errors.Is(err, jetstreamext.ErrNoMessages) || errors.Is(err, jetstream.ErrMsgNotFound)
}

// directPage reads what follows, in one request where the stream allows that. Only
// the first page may begin at a time.
func (w *walker) directPage(ctx context.Context, stream jetstream.Stream, filters []string, give func(Message) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	filter := ">"
	if len(filters) == 1 {
		filter = filters[0]
	}
	if !stream.CachedInfo().Config.AllowDirect {
		raw, err := stream.GetMsg(ctx, max(w.next, 1), jetstream.WithGetMsgSubject(filter))
		if err != nil {
			return err
		}
		return w.raw(raw, filters, give)
	}
	o := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSubject(filter), jetstreamext.GetBatchMaxBytes(directBytes)}
	if w.next == 0 && !w.o.Since.IsZero() {
		o = append(o, jetstreamext.GetBatchStartTime(w.o.Since))
	} else {
		o = append(o, jetstreamext.GetBatchSeq(max(w.next, 1)))
	}
	batch, err := jetstreamext.GetBatch(ctx, w.js, w.name, w.o.page(), o...)
	if err != nil {
		return err
	}
	last := uint64(0)
	for raw, err := range batch {
		if err != nil {
			return err
		}
		if before, _ := strconv.ParseUint(raw.Header.Get(beforeHeader), 10, 64); before != last {
			return errCut
		}
		last = raw.Sequence
		if err := w.raw(raw, filters, give); err != nil {
			return err
		}
	}
	return nil
}

// raw gives one message, as a reader would have.
func (w *walker) raw(raw *jetstream.RawStreamMsg, filters []string, give func(Message) bool) error {
	if raw.Sequence > w.end && !w.o.Follow {
		return errEnough
	}
	w.next = raw.Sequence + 1
	if len(filters) > 1 && !slices.ContainsFunc(filters, func(f string) bool { return layout.Covers(f, raw.Subject) }) {
		return nil
	}
	m := Message{Subject: raw.Subject, Sequence: raw.Sequence, Time: raw.Time, Header: raw.Header, Left: w.end - min(w.end, raw.Sequence)}
	if n, err := strconv.ParseUint(raw.Header.Get(pendingHeader), 10, 64); err == nil {
		m.Left = n
	}
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	for _, h := range []string{jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer, beforeHeader, pendingHeader} {
		delete(m.Header, h)
	}
	if m.Body = raw.Data; !w.o.Bodies {
		m.Header.Set(sizeField, fmt.Sprint(len(raw.Data)))
		m.Body = nil
	}
	if !give(m) {
		return errEnough
	}
	return nil
}

// What the server says beside a message of a page.
const (
	pendingHeader = "Nats-Num-Pending"
	beforeHeader  = "Nats-Last-Sequence" // of the page's message before; 0 in the first
)
