package deliverylog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/events"
)

const (
	pageSize   = 16               // messages asked for at once: some 2 MiB at most
	readerIdle = 10 * time.Minute // the server forgets a reader that vanished; one that pages by hand may pause
	skew       = time.Minute      // by how much our clocks and the server's may differ
	again      = time.Second      // before a follower whose reading broke off tries anew
)

// message is one of the log's.
type message struct {
	seq    uint64
	header nats.Header
	data   []byte
}

// feed reads the log's messages in order, through a consumer of its own that it
// makes anew, behind the last message it gave, whenever one was lost.
type feed struct {
	js     jetstream.JetStream
	stream string
	cfg    jetstream.ConsumerConfig
	follow bool
	until  time.Time // what is stored later cannot be meant; zero means no such time
	next   uint64    // where to go on; 0 as long as nothing was given
	end    uint64    // the last sequence wanted, unless following
}

// errEnough says that nobody wants more.
var errEnough = errors.New("enough")

func messages(ctx context.Context, js jetstream.JetStream, names events.Names, f *Filter, follow bool) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		d := newFeed(js, names, f, follow)
		give := func(m message) bool { return yield(m, nil) }
		for {
			before := d.next
			err := d.pass(ctx, give)
			switch {
			case err == nil, errors.Is(err, errEnough):
				return
			case follow && ctx.Err() != nil:
				return
			case follow:
				sleep(ctx, again)
			case d.next == before || ctx.Err() != nil:
				yield(message{}, fmt.Errorf("read the delivery log: %w", err))
				return
			}
		}
	}
}

func newFeed(js jetstream.JetStream, names events.Names, f *Filter, follow bool) *feed {
	d := &feed{js: js, stream: names.Attempts(), follow: follow, cfg: jetstream.ConsumerConfig{
		Description:       "reads the delivery log once",
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: readerIdle,
	}}
	if f.Survey != "" {
		d.cfg.FilterSubject = names.AttemptsSubject(names.Shard(f.Survey))
	}
	if !f.Since.IsZero() {
		since := f.Since.Add(-skew)
		d.cfg.DeliverPolicy, d.cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	if !f.Until.IsZero() {
		d.until = f.Until.Add(linger + skew)
	}
	return d
}

// pass reads until the end, and says why when it broke off before.
func (d *feed) pass(ctx context.Context, give func(message) bool) error {
	stream, err := d.js.Stream(ctx, d.stream)
	if err != nil {
		return err
	}
	d.begin(stream.CachedInfo().State.LastSeq)
	reader, err := stream.CreateConsumer(ctx, d.cfg)
	if err != nil {
		return err
	}
	defer func() { // best effort: an idle reader is forgotten anyway
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, reader.CachedInfo().Name)
	}()
	if !d.follow && (reader.CachedInfo().NumPending == 0 || d.next > d.end) {
		return nil
	}
	read := uint64(0)
	for {
		more, err := d.page(ctx, reader, &read, give)
		if err != nil || !more {
			return err
		}
	}
}

// begin decides where this pass starts, and at the first one where all end.
func (d *feed) begin(last uint64) {
	if d.end == 0 {
		d.end = last
	}
	if d.follow && d.next == 0 && d.cfg.OptStartTime == nil {
		d.next = last + 1
	}
	if d.next > 0 {
		d.cfg.DeliverPolicy, d.cfg.OptStartSeq, d.cfg.OptStartTime = jetstream.DeliverByStartSequencePolicy, d.next, nil
	}
}

// page gives one page, and says whether there may be another.
func (d *feed) page(ctx context.Context, reader jetstream.Consumer, read *uint64, give func(message) bool) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a fetch that is left early
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	before := *read
	batch, err := d.fetch(ctx, reader)
	if err != nil {
		return false, err
	}
	for msg := range batch.Messages() {
		more, err := d.give(msg, read, give)
		if err != nil || !more {
			cancel()
			for range batch.Messages() { // its goroutine ends when this is empty
			}
			return false, err
		}
	}
	if err := batch.Error(); err != nil {
		return false, err
	}
	if *read == before && !d.follow {
		return false, silent(ctx, reader, *read)
	}
	return true, nil
}

func (d *feed) fetch(ctx context.Context, reader jetstream.Consumer) (jetstream.MessageBatch, error) {
	if d.follow {
		return reader.Fetch(pageSize, jetstream.FetchContext(ctx))
	}
	return reader.FetchNoWait(pageSize)
}

// give hands out one message, and says whether more are wanted.
func (d *feed) give(msg jetstream.Msg, read *uint64, give func(message) bool) (bool, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return false, err
	}
	if *read++; meta.Sequence.Consumer != *read {
		return false, errCut
	}
	seq := meta.Sequence.Stream
	if !d.follow && seq > d.end || !d.until.IsZero() && meta.Timestamp.After(d.until) {
		return false, errEnough
	}
	d.next = seq + 1
	if !give(message{seq: seq, header: msg.Headers(), data: msg.Data()}) {
		return false, errEnough
	}
	return d.follow || meta.NumPending > 0 && seq < d.end, nil
}

// silent tells an end, where the last messages expired meanwhile, from messages
// that did not come.
func silent(ctx context.Context, reader jetstream.Consumer, read uint64) error {
	info, err := reader.Info(ctx)
	switch {
	case err != nil:
		return err
	case info.Delivered.Consumer > read:
		return errCut
	case info.NumPending > 0:
		return errors.New("the server does not answer")
	default:
		return nil
	}
}

// errCut says that messages were on their way and did not come.
var errCut = errors.New("the connection was lost in between")

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
