package forget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// DefaultWait is how long what a replica has in hand may take to end: three tries of
// an event, a record that is written, and some to spare.
const DefaultWait = 20 * time.Second

// passesMost is how often everything is looked through at most.
const passesMost = 4

// Options say what is erased.
type Options struct {
	Survey      events.Survey // only this survey's; empty means any, and takes a response
	Response    string        // only this response; empty means everything of the survey
	DryRun      bool          // only count
	EventStream bool          // erase from the event stream even where this service did not make it: its owner has agreed
	Wait        time.Duration // before looking again for what was in hand; 0 means never

	Progress func(doing string, done, all int64) // hears how far each part is; may be nil
}

// Receipt says what was erased where; of a dry run, what would be.
type Receipt struct {
	Survey   events.Survey `json:"survey,omitempty"`
	Response string        `json:"response,omitempty"`
	DryRun   bool          `json:"dry_run"`
	Began    time.Time     `json:"began"`
	Ended    time.Time     `json:"ended"`
	Up       uint64        `json:"up_to_sequence"` // of the event stream: what was published there later was not looked at; what was published in one that was removed always is
	Passes   int           `json:"passes"`         // how often everything was looked through

	EventStream Place `json:"event_stream"`
	Lanes       Place `json:"lanes"`
	DeadLetters Place `json:"dead_letters"`
	DeliveryLog Place `json:"delivery_log"` // counts attempts
	Replays     Place `json:"replays"`      // jobs that were about the response alone, or one of the survey's

	InHand  []uint64 `json:"in_hand,omitempty"` // sequences that a replica may have had in hand: they may have been sent while they were erased
	Remains []string `json:"remains,omitempty"` // what could not be erased, and why
}

// Place is what was erased in one stream.
type Place struct {
	Stream    string            `json:"stream"`
	Erased    int               `json:"erased"`
	Sequences []deliverylog.Run `json:"sequences,omitempty"` // of the event stream
}

// note counts one message.
func (p *Place) note(source uint64) {
	p.Erased++
	p.add(deliverylog.Run{From: source, To: source})
}

// add takes sequences in, those that follow each other as one run.
func (p *Place) add(runs ...deliverylog.Run) {
	for _, r := range runs {
		if n := len(p.Sequences); r.From != 0 && (n == 0 || r.From > p.Sequences[n-1].To+1 || r.From < p.Sequences[n-1].From) {
			p.Sequences = append(p.Sequences, r)
		} else if n > 0 {
			p.Sequences[n-1].To = max(p.Sequences[n-1].To, r.To)
		}
	}
}

// Found is how many messages and records were erased, or would be.
func (r Receipt) Found() int {
	return r.EventStream.Erased + r.Lanes.Erased + r.DeadLetters.Erased + r.DeliveryLog.Erased + r.Replays.Erased
}

// Run erases, and returns when nothing is found any more and no replica has any of it in
// hand, or something could not be erased, which the receipt says. What was erased when the error says that it ended
// early stays erased; erasing again goes on.
func Run(ctx context.Context, js jetstream.JetStream, l layout.Layout, o Options) (Receipt, error) {
	if o.Survey == "" && o.Response == "" {
		return Receipt{}, errors.New("forget: neither a survey nor a response is named")
	}
	e := &eraser{js: js, names: l.Names, o: o, receipt: Receipt{Survey: o.Survey, Response: o.Response, DryRun: o.DryRun, Began: time.Now().UTC()}}
	if e.o.Progress == nil {
		e.o.Progress = func(string, int64, int64) {}
	}
	err := e.open(ctx, l)
	for err == nil && e.receipt.Passes < passesMost {
		before := e.receipt.Found()
		e.receipt.Remains = nil
		if err = e.pass(ctx); err != nil {
			break
		}
		e.receipt.Passes++
		found := e.receipt.Found() - before
		if o.DryRun || found == 0 && len(e.held) == 0 {
			break
		}
		if o.Wait == 0 || e.receipt.Passes == passesMost { // nobody looks again: what is in hand may be sent
			if o.Wait != 0 && len(e.held) == 0 {
				e.remains("something of it is still being written: forget it again")
			}
			e.receipt.Remains = append(e.receipt.Remains, e.held...)
			break
		}
		wait.For(ctx, o.Wait)
		err = ctx.Err()
	}
	e.receipt.Ended = time.Now().UTC()
	return e.receipt, err
}

// eraser is one erasure.
type eraser struct {
	js      jetstream.JetStream
	names   events.Names
	o       Options
	receipt Receipt

	stream    jetstream.Stream // the event stream
	born      time.Time        // when its sequences began to count: what was published before stood in another one
	opened    time.Time        // by the server's clock, when the erasure began
	mayEvents bool             // whether messages of it may be erased
	hands     []hand           // of it: what may be in a replica's hands
	held      []string         // whose hands had something of what is meant in the last pass
}

// open looks at what there is, and up to where it is erased.
func (e *eraser) open(ctx context.Context, l layout.Layout) error {
	var err error
	if e.stream, err = e.js.Stream(ctx, e.names.Stream()); err != nil {
		return fmt.Errorf("open stream %s: %w", e.names.Stream(), err)
	}
	info := e.stream.CachedInfo()
	e.receipt.Up, e.born, e.opened = info.State.LastSeq, layout.Born(info), info.TimeStamp
	e.mayEvents = e.o.EventStream || l.MadeEvents(info.Config)
	e.receipt.EventStream.Stream, e.receipt.Lanes.Stream = e.names.Stream(), e.names.Lanes()
	e.receipt.DeadLetters.Stream, e.receipt.DeliveryLog.Stream = e.names.DeadLetters(), e.names.Attempts()
	e.receipt.Replays.Stream = "KV_" + e.names.Replays()
	return nil
}

// hand is what a consumer has given to replicas, and is not settled for all it knows.
type hand struct {
	deliverylog.Run

	idle  bool   // nobody works on it: a paused replay has let go of everything
	holds string // what is said of something that stays there
}

// findHands finds out what the live consumer and the replays have given to replicas.
func (e *eraser) findHands(ctx context.Context) error {
	jobs, err := replay.List(ctx, e.js, e.names)
	if err != nil {
		return err
	}
	e.hands = nil
	h := hand{holds: "a replica may have some of it in hand: run this again when `webhooks status` shows that later events are settled too"}
	if err := e.findHand(ctx, e.names.Consumer(), h); err != nil {
		return err
	}
	for _, r := range jobs {
		if r.State.Ended() {
			continue
		}
		h := hand{
			idle:  r.State != replay.Running,
			holds: fmt.Sprintf("replay %s may have some of it in hand, where it waits for its endpoint: if it still runs, webhooks replay cancel %s; and then run this again", r.ID, r.ID),
		}
		if err := e.findHand(ctx, e.names.ReplayConsumer(r.ID), h); err != nil {
			return err
		}
	}
	return nil
}

func (e *eraser) findHand(ctx context.Context, consumer string, h hand) error {
	cons, err := e.stream.Consumer(ctx, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at consumer %s: %w", consumer, err)
	}
	if info := cons.CachedInfo(); info.NumAckPending > 0 {
		h.Run = deliverylog.Run{From: info.AckFloor.Stream + 1, To: info.Delivered.Stream}
		e.hands = append(e.hands, h)
	}
	return nil
}

// isLast says that nothing is looked through again.
func (e *eraser) isLast() bool { return e.o.Wait == 0 || e.receipt.Passes == passesMost-1 }

// pass looks through everything once.
func (e *eraser) pass(ctx context.Context) error {
	for _, erase := range []func(context.Context) error{e.findHands, e.fromReplays, e.fromEvents, e.fromLanes, e.fromLetters, e.fromLog} {
		if err := erase(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (e *eraser) remains(format string, args ...any) {
	e.receipt.Remains = append(e.receipt.Remains, fmt.Sprintf(format, args...))
}

// isMeantAt says whether what was published then, and stood at that sequence, is within
// what is erased. The bound holds for this event stream alone.
func (e *eraser) isMeantAt(source uint64, published time.Time) bool {
	return source <= e.receipt.Up || e.isOlder(published)
}

// isOlder says that something was published in an event stream that was removed: its
// sequence is another event's by now.
func (e *eraser) isOlder(published time.Time) bool { return published.Before(e.born) }

// forgotten notes in the delivery log what is about to be erased, as far as it is of
// this event stream.
func (e *eraser) forgotten(ctx context.Context, batch []found) error {
	log := deliverylog.New(e.js, e.names, deliverylog.Options{Replica: "webhooks forget"})
	for _, f := range batch {
		if !f.older {
			log.Settled(deliverylog.KindForgotten, f.survey, f.source)
		}
	}
	return log.Flush(ctx)
}
