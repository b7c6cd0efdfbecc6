package deliverylog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// Erasure says whose attempts are taken out of the log.
type Erasure struct {
	Survey   events.Survey         // only this survey's; empty means any
	EventID  string                // only those of this event; empty means all of the survey's
	To       uint64                // only of events up to this sequence of the event stream; 0 means any
	Before   time.Time             // and those that began before, whatever their sequence
	Born     time.Time             // when the event stream was made: attempts of before were of another one's events, and nothing is left in their place
	DryRun   bool                  // only count
	Progress func(done, all int64) // hears how many messages were read; may be nil
}

// Erased is what was taken out of the log.
type Erased struct {
	Records    int   // attempts
	Messages   int   // that held them
	Runs       []Run // where their events stand in the event stream, ascending
	Unreadable int   // messages that this version cannot read: they may hold more
}

// Erase takes attempts out of the log: what they told of a receiver and its
// answers, and the event's id. A message holds many records, so it is written anew
// without them, a forgotten record of their sequences in their place; once that is
// confirmed, the old one is overwritten on disk and removed. One of which nothing stays
// is only removed. A crash in between
// leaves the other records there twice, and erasing again goes on.
//
// Records that tell of sequences alone stay: they hold nothing of a person. What is
// written anew is kept for another seven days from then on.
//
// After an error what was erased so far stays erased, and is returned.
func Erase(ctx context.Context, js jetstream.JetStream, names events.Names, e Erasure) (Erased, error) {
	if e.Survey == "" && e.EventID == "" {
		return Erased{}, errors.New("erase from the delivery log: neither a survey nor an event is named")
	}
	stream, err := js.Stream(ctx, names.Attempts())
	if err != nil {
		return Erased{}, fmt.Errorf("open stream %s: %w", names.Attempts(), err)
	}
	x := &eraser{js: js, stream: stream, e: e, quick: (&Filter{Survey: e.Survey, EventID: e.EventID}).quick()}
	f := Filter{Survey: e.Survey}
	n := int64(0)
	for msg, err := range walk.Stream(ctx, js, names.Attempts(), f.walk(names, false)) {
		if err == nil {
			err = x.message(ctx, msg)
		}
		if err != nil {
			return x.erased(), fmt.Errorf("erase from the delivery log: %w", err)
		}
		if n++; e.Progress != nil {
			e.Progress(n, n+int64(msg.Left)) //nolint:gosec // far from what an int64 holds
		}
	}
	return x.erased(), nil
}

// eraser is one erasure.
type eraser struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	e      Erasure
	quick  quick
	so     Erased
}

func (x *eraser) erased() Erased {
	x.so.Runs = merge(x.so.Runs)
	return x.so
}

// message erases from one message.
func (x *eraser) message(ctx context.Context, msg walk.Message) error {
	if msg.Header.Get(events.FormatHeader) != events.Format {
		x.so.Unreadable++
		return nil
	}
	text, err := unpack(msg)
	if err != nil {
		x.so.Unreadable++
		return nil //nolint:nilerr // one message, counted
	}
	kept, gone := x.divide(text)
	if len(gone) == 0 {
		return nil
	}
	here := x.stood(gone)
	if !x.e.DryRun {
		if err := x.rewrite(ctx, msg, appendForgotten(kept, here)); err != nil {
			return err
		}
	}
	x.so.Messages++
	x.so.Records += len(gone)
	for _, r := range here {
		x.so.Runs = append(x.so.Runs, r.Runs...)
	}
	if len(x.so.Runs) > 2*maxRuns {
		x.so.Runs = merge(x.so.Runs) // those of one survey mostly follow each other
	}
	return nil
}

// divide tells what stays from what goes. A line that cannot be read stays.
func (x *eraser) divide(text []byte) (kept []byte, gone []Record) {
	for one := range bytes.Lines(text) {
		if x.quick.mayWant(one) {
			if r, err := decodeRecord(one); err == nil && x.meant(r) {
				gone = append(gone, r)
				continue
			}
		}
		kept = append(kept, one...)
	}
	return kept, gone
}

func (x *eraser) meant(r Record) bool {
	return r.Kind == KindAttempt && (x.e.Survey == "" || r.Survey == x.e.Survey) && (x.e.EventID == "" || r.EventID == x.e.EventID) &&
		(x.e.To == 0 || r.Source() <= x.e.To || r.At.Before(x.e.Before))
}

// stood leaves out attempts at events of another event stream.
func (x *eraser) stood(gone []Record) (here []Record) {
	for _, r := range gone {
		if !r.At.Before(x.e.Born) {
			here = append(here, r)
		}
	}
	return here
}

// appendForgotten says in place of attempts where they stood, each survey's by itself.
func appendForgotten(kept []byte, gone []Record) []byte {
	at, runs := map[events.Survey]time.Time{}, map[events.Survey][]Run{}
	for _, r := range gone {
		if first := at[r.Survey]; first.IsZero() || r.At.Before(first) {
			at[r.Survey] = r.At
		}
		runs[r.Survey] = append(runs[r.Survey], r.Runs...)
	}
	for survey, of := range runs {
		for some := range slices.Chunk(merge(of), maxRuns) {
			kept = appendSettled(kept, settledKey{KindForgotten, survey}, at[survey], some)
		}
	}
	return kept
}

// rewrite stores a message anew, and then overwrites the old one.
func (x *eraser) rewrite(ctx context.Context, old walk.Message, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	if len(body) > 0 {
		if err := x.write(ctx, old, body); err != nil {
			return err
		}
	}
	if err := x.stream.SecureDeleteMsg(ctx, old.Sequence); err != nil {
		if _, look := x.stream.GetMsg(ctx, old.Sequence); errors.Is(look, jetstream.ErrMsgNotFound) {
			return nil // its time was over
		}
		return fmt.Errorf("erase message %d: %w", old.Sequence, err)
	}
	return nil
}

func (x *eraser) write(ctx context.Context, old walk.Message, body []byte) error {
	h := nats.Header{headerEncoding: {encodingS2}}
	for _, key := range []string{events.FormatHeader, headerReplica, headerSequences, headerTimes} {
		if v := old.Header.Get(key); v != "" {
			h[key] = []string{v}
		}
	}
	ack, err := x.js.PublishMsg(ctx, &nats.Msg{Subject: old.Subject, Header: h, Data: s2.Encode(nil, body)})
	if err != nil {
		return fmt.Errorf("write message %d anew: %w", old.Sequence, err)
	}
	if name := x.stream.CachedInfo().Config.Name; ack.Stream != name {
		return fmt.Errorf("write message %d anew: stream %s took it, not %s", old.Sequence, ack.Stream, name)
	}
	return nil
}
