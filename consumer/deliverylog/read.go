package deliverylog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

const (
	pageSize = 16          // messages asked for at once: some 2 MiB at most
	skew     = time.Minute // by how much our clocks and the server's may differ
)

// Unreadable is the error of one message of the log that this version cannot
// read. It is passed over, and concerns no other.
type Unreadable struct {
	Sequence uint64
	Format   string // what its format header says; empty without one
	Err      error  // what is wrong with it, where the format is known
}

// Error says which message cannot be read, and why.
func (u *Unreadable) Error() string {
	switch {
	case u.Err != nil:
		return fmt.Sprintf("message %d of the delivery log cannot be read: %v", u.Sequence, u.Err)
	case u.Format == "":
		return fmt.Sprintf("message %d of the delivery log is none of ours", u.Sequence)
	default:
		return fmt.Sprintf("message %d of the delivery log has format %.16q, this version reads %s", u.Sequence, u.Format, events.Format)
	}
}

// Unwrap gives what is wrong with the message.
func (u *Unreadable) Unwrap() error { return u.Err }

// Read gives the records that are meant, as they stood when it began, in the
// order they were written: within a quarter of a second, and after an outage
// within as long as that lasted, records of different replicas and surveys may
// stand out of order. It holds a few messages in memory.
//
// An [*Unreadable] error concerns one message, and the next one follows. Any
// other error is the last thing given.
func Read(ctx context.Context, js jetstream.JetStream, names events.Names, f Filter) iter.Seq2[Record, error] {
	return read(ctx, js, names, f, false)
}

// Follow is [Read] that goes on with new records until ctx ends, which is no
// error. It survives the bus being away.
func Follow(ctx context.Context, js jetstream.JetStream, names events.Names, f Filter) iter.Seq2[Record, error] {
	return read(ctx, js, names, f, true)
}

func read(ctx context.Context, js jetstream.JetStream, names events.Names, f Filter, follow bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		n := 0
		count := func(r Record, err error) bool {
			if err == nil {
				n++
			}
			return yield(r, err) && (f.Limit == 0 || n < f.Limit)
		}
		q := f.quick()
		for msg, err := range walk.Stream(ctx, js, names.Attempts(), f.walk(names, follow)) {
			if err != nil {
				yield(Record{}, fmt.Errorf("read the delivery log: %w", err))
				return
			}
			if !f.Until.IsZero() && msg.Time.After(f.Until.Add(linger+skew)) {
				return // what is stored later cannot be meant
			}
			if !readMessage(msg, &f, q, count) {
				return
			}
		}
	}
}

// walk is what of the log's stream has to be read.
func (f *Filter) walk(names events.Names, follow bool) walk.Options {
	o := walk.Options{Bodies: true, Page: pageSize, Follow: follow}
	if f.Survey != "" {
		o.Subjects = []string{names.AttemptsSubject(names.Shard(f.Survey))}
	}
	if !f.Since.IsZero() {
		o.Since = f.Since.Add(-skew)
	}
	return o
}

// maxPlain is what one message may hold when it is unpacked: a full chunk, the
// line that filled it, and room to spare.
const maxPlain = 1 << 20

// readMessage gives what one message holds, and says whether to go on.
func readMessage(msg walk.Message, f *Filter, q quick, yield func(Record, error) bool) bool {
	unreadable := func(err error) bool {
		return yield(Record{}, &Unreadable{Sequence: msg.Sequence, Format: msg.Header.Get(events.FormatHeader), Err: err})
	}
	if msg.Header.Get(events.FormatHeader) != events.Format {
		return unreadable(nil)
	}
	if !f.mayHold(msg.Header) {
		return true
	}
	text, err := unpack(msg)
	if err != nil {
		return unreadable(err)
	}
	for one := range bytes.Lines(text) {
		if !q.mayWant(one) {
			continue
		}
		r, err := decodeRecord(one)
		if err != nil {
			return unreadable(err)
		}
		r.Replica = printable(msg.Header.Get(headerReplica), maxText)
		if f.wants(&r) && !yield(r, nil) {
			return false
		}
	}
	return true
}

func unpack(msg walk.Message) ([]byte, error) {
	switch encoding := msg.Header.Get(headerEncoding); encoding {
	case "":
		return msg.Body, nil
	case encodingS2:
		n, err := s2.DecodedLen(msg.Body)
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if n > maxPlain {
			return nil, fmt.Errorf("unpack: %d bytes, at most %d expected", n, maxPlain)
		}
		text, err := s2.Decode(nil, msg.Body)
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		return text, nil
	default:
		return nil, fmt.Errorf("encoding %.16q is unknown", encoding)
	}
}

// mayHold passes over messages whose bounds say that nothing in them is meant.
// Bounds that are not there, or cannot be read, say nothing.
func (f *Filter) mayHold(h nats.Header) bool {
	if run, err := parseBounds(h.Get(headerSequences)); err == nil && !f.inSource([]Run{run}) {
		return false
	}
	from, to, _ := strings.Cut(h.Get(headerTimes), "/")
	since, err1 := time.Parse(time.RFC3339Nano, from)
	until, err2 := time.Parse(time.RFC3339Nano, to)
	if err1 != nil || err2 != nil {
		return true
	}
	return !until.Before(f.Since) && (f.Until.IsZero() || since.Before(f.Until))
}

func parseBounds(text string) (Run, error) {
	from, to, _ := strings.Cut(text, "-")
	r := Run{}
	var err1, err2 error
	r.From, err1 = strconv.ParseUint(from, 10, 64)
	r.To, err2 = strconv.ParseUint(to, 10, 64)
	return r, errors.Join(err1, err2)
}
