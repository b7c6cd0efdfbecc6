package forget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// found is one message to be erased.
type found struct {
	survey events.Survey // empty: nobody could read it
	seq    uint64        // in the stream where it stands
	source uint64        // in the event stream
	older  bool          // in one that was removed
}

// batch gathers what is erased together.
type batch struct {
	e      *eraser
	stream string
	place  *Place
	list   []found
}

const (
	together = 256 // messages whose erasure is noted with one write
	workers  = 16  // erasures on their way at once
)

func (b *batch) add(ctx context.Context, f found) error {
	if f.older {
		b.place.Erased++
	} else {
		b.place.note(f.source)
	}
	if b.e.o.DryRun {
		return nil
	}
	if b.list = append(b.list, f); len(b.list) >= together {
		return b.flush(ctx)
	}
	return nil
}

// flush notes what is erased, and then erases it.
func (b *batch) flush(ctx context.Context) error {
	if len(b.list) == 0 {
		return nil
	}
	if err := b.e.forgotten(ctx, b.list); err != nil {
		return fmt.Errorf("note what is erased from %s, before it is: %w", b.stream, err)
	}
	stream, err := b.e.js.Stream(ctx, b.stream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", b.stream, err)
	}
	errs := make([]error, len(b.list))
	slots := make(chan struct{}, workers)
	var wg sync.WaitGroup
	for i, f := range b.list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var unheard *panics.Guard // it is told with the error
			if err := unheard.Try(panics.PlaceRun, func() error { return erase(ctx, stream, f.seq) }); err != nil {
				errs[i] = fmt.Errorf("erase message %d of %s: %w", f.seq, b.stream, err)
			}
		})
	}
	wg.Wait()
	b.list = b.list[:0]
	return errors.Join(errs...)
}

// erase overwrites one message on disk and removes it. One that is gone already is
// no error: its lane's owner, or its time, was faster.
func erase(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	err := stream.SecureDeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	if _, look := stream.GetMsg(ctx, seq); errors.Is(look, jetstream.ErrMsgNotFound) {
		return nil // a refusal does not say why in a form that code could read
	}
	return err
}

// fromReplays erases jobs that name the response, or one of the survey. One that runs
// would send it again.
func (e *eraser) fromReplays(ctx context.Context) error {
	all, err := replay.List(ctx, e.js, e.names)
	if err != nil {
		return err
	}
	kv, err := e.js.KeyValue(ctx, e.names.Replays())
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", e.names.Replays(), err)
	}
	for _, r := range all {
		switch {
		case !e.isJob(r):
			continue
		case !r.State.Ended():
			e.remains("replay %s of one response is %s: webhooks replay cancel %s, and then run this again", r.ID, r.State, r.ID)
			continue
		case !e.o.DryRun:
			if err := kv.Purge(ctx, r.ID); err != nil { // a bucket's messages cannot be overwritten
				return fmt.Errorf("erase replay %s: %w", r.ID, err)
			}
		}
		e.receipt.Replays.Erased++
	}
	return nil
}

// isJob says whether a replay is of the response, or of one of the survey's. A survey's
// id is nothing of a person: jobs that name no response stay.
func (e *eraser) isJob(r replay.Record) bool {
	if e.o.Response != "" {
		return r.Response == e.o.Response
	}
	return r.Response != "" && len(r.Surveys) == 1 && r.Surveys[0] == e.o.Survey
}

// fromEvents erases from the event stream, or says that its owner has to.
func (e *eraser) fromEvents(ctx context.Context) error {
	o := walk.Options{Subjects: e.names.Subjects(), Bodies: true}
	if e.o.Survey != "" {
		o.Subjects = []string{e.names.Subjects()[0], e.names.Subject(e.o.Survey)}
	}
	b := &batch{e: e, stream: e.names.Stream(), place: &e.receipt.EventStream}
	var theirs Place
	n := int64(0)
	e.held = nil
	for m, err := range walk.Stream(ctx, e.js, e.names.Stream(), o) {
		if err != nil {
			return err
		}
		if m.Sequence > e.receipt.Up {
			break
		}
		n++
		e.o.Progress("searching the event stream", n, n+int64(m.Left)) //nolint:gosec // far from what an int64 holds
		survey, is := e.isMeant(m.Subject, m.Body)
		if !is {
			continue
		}
		if e.inHand(m.Sequence) && e.mayEvents && !e.o.DryRun && !e.isLast() {
			continue
		}
		if !e.mayEvents {
			theirs.note(m.Sequence)
			continue
		}
		if err := b.add(ctx, found{survey: survey, seq: m.Sequence, source: m.Sequence}); err != nil {
			return err
		}
	}
	if theirs.Erased > 0 {
		e.remains("%d events in %s, which this service did not make: its owner has to delete them there, and then this is to be run again, because they may come back from there: sequences %v",
			theirs.Erased, e.names.Stream(), runsText(theirs.Sequences))
	}
	return b.flush(ctx)
}

// inHand notes what a replica may have in hand, and says whether it stays in the event
// stream for now: once it is erased there, the server takes it for settled, and nobody
// could see any more whether it is.
func (e *eraser) inHand(seq uint64) (stays bool) {
	may := false
	for _, h := range e.hands {
		if seq < h.From || seq > h.To {
			continue
		}
		may = true
		if stays = stays || !h.idle; !h.idle && !slices.Contains(e.held, h.holds) {
			e.held = append(e.held, h.holds)
		}
	}
	if may && e.receipt.Passes == 0 && len(e.receipt.InHand) < together {
		e.receipt.InHand = append(e.receipt.InHand, seq)
	}
	return stays
}

// isMeant says whether an event's bytes are meant, and whose they are. What is no
// event is meant when it holds the id in quotes.
func (e *eraser) isMeant(subject string, body []byte) (events.Survey, bool) {
	ev, err := e.names.DecodeMax(subject, nil, body, len(body))
	if err == nil {
		return ev.Survey, (e.o.Survey == "" || ev.Survey == e.o.Survey) && (e.o.Response == "" || ev.ID == e.o.Response)
	}
	survey := e.names.SubjectSurvey(subject)
	if survey != "" && e.o.Survey != "" && survey != e.o.Survey {
		return survey, false
	}
	if e.o.Response != "" {
		return survey, bytes.Contains(body, []byte(`"`+e.o.Response+`"`))
	}
	return survey, survey == e.o.Survey || bytes.Contains(body, []byte(`"`+e.o.Survey+`"`))
}

func (e *eraser) fromLanes(ctx context.Context) error {
	b := &batch{e: e, stream: e.names.Lanes(), place: &e.receipt.Lanes}
	strange, n := 0, int64(0)
	for s, err := range lanes.All(ctx, e.js, e.names, e.o.Survey) {
		if err != nil {
			return err
		}
		n++
		e.o.Progress("searching the lanes", n, n+int64(s.Left)) //nolint:gosec // far from what an int64 holds
		switch {
		case s.Foreign && e.o.Response != "":
			strange++
			continue
		case e.o.Response != "" && s.EventID != e.o.Response, !e.isMeantAt(s.Source, s.Published):
			continue
		}
		if err := b.add(ctx, found{survey: s.Survey, seq: s.Sequence, source: s.Source, older: e.isOlder(s.Published)}); err != nil {
			return err
		}
	}
	if strange > 0 {
		e.remains("%d waiting events that another version has parked cannot be read: use that version", strange)
	}
	return b.flush(ctx)
}

// fromLetters erases dead letters. Those whose event nobody could read are looked
// into.
func (e *eraser) fromLetters(ctx context.Context) error {
	filters := []deadletters.Filter{{}}
	if e.o.Survey != "" {
		filters = []deadletters.Filter{{Survey: e.o.Survey}, {Unknown: true}}
	}
	store := deadletters.New(e.js, e.names)
	b := &batch{e: e, stream: e.names.DeadLetters(), place: &e.receipt.DeadLetters}
	strange, n := 0, int64(0)
	for _, filter := range filters {
		for l, err := range store.List(ctx, filter) {
			n++
			e.o.Progress("searching the dead letters", n, n)
			if errors.As(err, new(*deadletters.Unreadable)) {
				strange++
				continue
			}
			if err != nil {
				return err
			}
			is, err := e.isLetter(ctx, store, l)
			if err != nil {
				return err
			}
			if !is || !e.isMeantAt(l.Source, l.Published) {
				continue
			}
			if err := b.add(ctx, found{survey: l.Survey, seq: l.Sequence, source: l.Source, older: e.isOlder(l.Published)}); err != nil {
				return err
			}
		}
	}
	if strange > 0 {
		e.remains("%d dead letters that another version has written cannot be read: use that version", strange)
	}
	return b.flush(ctx)
}

func (e *eraser) isLetter(ctx context.Context, store *deadletters.Store, l deadletters.Letter) (bool, error) {
	switch {
	case l.Survey != "" && l.EventID != "":
		return (e.o.Survey == "" || l.Survey == e.o.Survey) && (e.o.Response == "" || l.EventID == e.o.Response), nil
	case l.Survey != "" && e.o.Response == "":
		return l.Survey == e.o.Survey, nil
	case l.EventID != "" && e.o.Survey == "":
		return l.EventID == e.o.Response, nil
	}
	body, err := store.Body(ctx, l)
	if errors.Is(err, deadletters.ErrNoBody) || errors.Is(err, deadletters.ErrNoLetter) {
		return false, nil // nothing of it is here
	}
	subject := e.names.Subjects()[0]
	if l.Survey != "" {
		subject = e.names.Subject(l.Survey)
	}
	_, is := e.isMeant(subject, body)
	return is, err
}

// fromLog erases attempts. Their records do not say when their event was published: one
// of before the erasure began is of an event of before. Of one response all are meant.
func (e *eraser) fromLog(ctx context.Context) error {
	to := e.receipt.Up
	if e.o.Response != "" {
		to = 0
	}
	erased, err := deliverylog.Erase(ctx, e.js, e.names, deliverylog.Erasure{
		Survey: e.o.Survey, EventID: e.o.Response, To: to, Before: e.opened, Born: e.born, DryRun: e.o.DryRun,
		Progress: func(done, all int64) { e.o.Progress("searching the delivery log", done, all) },
	})
	e.receipt.DeliveryLog.Erased += erased.Records
	e.receipt.DeliveryLog.add(erased.Runs...)
	if erased.Unreadable > 0 {
		e.remains("%d messages of the delivery log that another version has written cannot be read: use that version, or wait for seven days", erased.Unreadable)
	}
	return err
}

// runsText is the first of some runs for people.
func runsText(runs []deliverylog.Run) string {
	const most = 20
	text := ""
	for i, r := range runs {
		switch {
		case i == most:
			return text + fmt.Sprintf(" and %d more", len(runs)-most)
		case i > 0:
			text += ", "
		}
		text += fmt.Sprint(r.From)
		if r.To > r.From {
			text += fmt.Sprint("-", r.To)
		}
	}
	return text
}
