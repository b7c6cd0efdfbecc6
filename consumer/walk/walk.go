package walk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
)

const (
	headPage   = 512              // messages asked for at once without their bodies
	bodyPage   = 32               // and with them: 32 MiB of the largest events at most
	idle       = 30 * time.Second // the server forgets a reader that vanished
	answerTime = 5 * time.Second  // how long the reader's end is waited for
	patience   = 15 * time.Second // how long a lost connection may bring nothing: longer than a client takes to find another server
	again      = time.Second      // before what broke off is tried anew
	sizeField  = "Nats-Msg-Size"  // the body's length, on a message sent without its body
)

// Options say what is read. The zero value of each field reads everything.
type Options struct {
	Subjects []string // only these; those the stream cannot hold are left out, and when none is left nothing is read
	From     uint64   // from this sequence on
	Bodies   bool     // with bodies; else headers alone
	Page     int      // messages asked for at once; 0 means 512, or 32 with bodies

	Since  time.Time // from what was stored then on, by the server's clock; From, where it is set, says more
	Follow bool      // go on with new messages until ctx ends, which is no error; without From and Since with those alone
}

func (o Options) page() int {
	switch {
	case o.Page > 0:
		return o.Page
	case o.Bodies:
		return bodyPage
	default:
		return headPage
	}
}

// Message is one message of the stream.
type Message struct {
	Subject  string
	Sequence uint64
	Time     time.Time // when it was stored, by the server's clock
	Header   nats.Header
	Body     []byte // nil unless bodies are wanted
	Left     uint64 // messages that are meant and follow this one, as far as the server knows
}

// Size is the length of the body, also where the body was not asked for.
func (m Message) Size() int64 {
	if m.Body != nil {
		return int64(len(m.Body))
	}
	var n int64
	_, _ = fmt.Sscan(m.Header.Get(sizeField), &n)
	return n
}

// Stream gives the messages that are meant, in their order. An error is the last
// thing given.
func Stream(ctx context.Context, js jetstream.JetStream, name string, o Options) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		w := &walker{js: js, name: name, o: o, next: o.From, came: time.Now()}
		for {
			err := w.pass(ctx, func(m Message) bool { return yield(m, nil) })
			switch {
			case err == nil, errors.Is(err, errEnough), o.Follow && ctx.Err() != nil:
				return
			case ctx.Err() != nil:
				yield(Message{}, context.Cause(ctx))
				return
			case !w.mayGoOn(err):
				yield(Message{}, fmt.Errorf("read stream %s: %w", name, err))
				return
			}
			wait.For(ctx, again)
		}
	}
}

// mayGoOn says whether a pass that broke off is worth another one. What the server
// itself refuses is not; nor is a connection over which nothing comes any more.
func (w *walker) mayGoOn(err error) bool {
	if refused := layout.Refusal(err); refused != nil && refused.Code < 500 && !w.o.Follow {
		return false
	}
	return w.o.Follow || w.opened && time.Since(w.came) < patience
}

// errEnough says that nobody wants more, errNoMore that the reader knows of no more,
// errCut that messages were on their way and did not come.
var (
	errEnough = errors.New("enough")
	errNoMore = errors.New("no more")
	errCut    = errors.New("the connection was lost in between")
)

// walker is one walk, through as many readers as it takes.
type walker struct {
	js   jetstream.JetStream
	name string
	o    Options
	next uint64 // where the next reader begins; 0 means the first message
	end  uint64 // the last sequence wanted, unless following; set by the first pass

	opened bool      // the stream was there once
	came   time.Time // when the last message came, or the walk began
}

// pass reads until the end, and says why when it broke off before.
func (w *walker) pass(ctx context.Context, give func(Message) bool) error {
	stream, err := w.js.Stream(ctx, w.name)
	if err != nil {
		return err
	}
	w.begin(stream.CachedInfo().State.LastSeq)
	filters, some := layout.Within(stream.CachedInfo().Config, w.o.Subjects)
	if !some || w.next > w.end && !w.o.Follow {
		return nil
	}
	filters = layout.Filters(stream.CachedInfo().Config, filters)
	reader, err := stream.CreateConsumer(ctx, w.config(filters))
	if barred(w.js, err) {
		return w.direct(ctx, stream, filters, give)
	}
	if err != nil {
		return err
	}
	defer func() { // best effort: an idle reader is forgotten anyway
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, reader.CachedInfo().Name)
	}()
	if reader.CachedInfo().NumPending == 0 && !w.o.Follow {
		return w.ended(ctx, filters)
	}
	made := time.Now()
	for read := uint64(0); ; {
		err := w.page(ctx, reader, &read, give)
		if errors.Is(err, errNoMore) {
			return w.ended(ctx, filters)
		}
		if err != nil && (read > 0 || !Again(ctx, made, err)) {
			return err
		}
	}
}

// begin decides at the first pass where all of them end, and where those begin
// that want nothing but news.
func (w *walker) begin(last uint64) {
	if w.opened {
		return
	}
	w.opened, w.end = true, last
	if w.o.Follow && w.next == 0 && w.o.Since.IsZero() {
		w.next = last + 1
	}
}

func (w *walker) config(filters []string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Description: "reads a stretch of the stream once", AckPolicy: jetstream.AckNonePolicy, FilterSubjects: filters,
		HeadersOnly: !w.o.Bodies, MemoryStorage: true, Replicas: 1, InactiveThreshold: idle,
	}
	switch {
	case w.next > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, w.next
	case !w.o.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &w.o.Since
	}
	return cfg
}

// page gives one page; errEnough and errNoMore say that it was the last.
func (w *walker) page(ctx context.Context, reader jetstream.Consumer, read *uint64, give func(Message) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	before := *read
	batch, err := w.fetch(ctx, reader)
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		if err != nil {
			continue // what is left of a page has to be taken, for its goroutine to end
		}
		if err = w.one(msg, read, give); err != nil {
			cancel() // nothing more is waited for
		}
	}
	switch {
	case err != nil:
		return err
	case batch.Error() != nil:
		return batch.Error()
	case *read == before && !w.o.Follow:
		return silent(ctx, reader, *read)
	default:
		return nil
	}
}

func (w *walker) fetch(ctx context.Context, reader jetstream.Consumer) (jetstream.MessageBatch, error) {
	if w.o.Follow {
		return reader.Fetch(w.o.page(), jetstream.FetchContext(ctx))
	}
	return reader.FetchNoWait(w.o.page())
}

// one gives one message.
func (w *walker) one(msg jetstream.Msg, read *uint64, give func(Message) bool) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	if *read++; meta.Sequence.Consumer != *read {
		return errCut
	}
	seq := meta.Sequence.Stream
	if seq > w.end && !w.o.Follow {
		return errEnough
	}
	w.next = seq + 1
	m := Message{Subject: msg.Subject(), Sequence: seq, Time: meta.Timestamp, Header: msg.Headers(), Left: meta.NumPending}
	if w.o.Bodies {
		m.Body = msg.Data()
	}
	enough := !give(m)
	w.came = time.Now() // whoever reads may take their time
	switch {
	case enough, !w.o.Follow && seq == w.end:
		return errEnough
	case !w.o.Follow && meta.NumPending == 0:
		return errNoMore
	}
	return nil
}

// silent tells an end, where the last messages were removed meanwhile, from
// messages that did not come.
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
		return errNoMore
	}
}
