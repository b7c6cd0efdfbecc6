package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/internal/wait"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

const (
	again    = 2 * time.Second // before what was not found is looked for again: the log is written four times a second
	clocks   = time.Minute     // by how much the clocks of replicas and servers may differ, where being wrong costs a longer search only
	skew     = 5 * time.Second // and where it would take another stream's records for this one's
	firstRun = time.Minute     // what was published within so long of the log's making, and before the live consumer's start, was there before the service
)

// Options say what is audited. The zero value means the whole event stream as it
// stands. What is too old to be proven fails an audit with a From, and one with a To
// that is too old itself.
type Options struct {
	From, To uint64                              // sequences, both included; 0 means the first, and the last, that stands in the stream
	Progress func(doing string, done, all int64) // hears how far each part is; may be nil
}

// ErrEmpty says that a range holds no sequence: nothing was ever published there.
var ErrEmpty = errors.New("there is nothing to audit")

// Run reads everything that may tell of the range and accounts for each of its
// sequences. It changes nothing, and may run beside the service.
func Run(ctx context.Context, js jetstream.JetStream, names events.Names, o Options) (Report, error) {
	a := &auditor{js: js, names: names, progress: o.Progress}
	if a.progress == nil {
		a.progress = func(string, int64, int64) {}
	}
	return a.run(ctx, o)
}

func (a *auditor) run(ctx context.Context, o Options) (Report, error) {
	if err := a.survey(ctx, o); err != nil {
		return Report{}, err
	}
	began := time.Now()
	if err := a.look(ctx, a.report.Created.Add(-skew)); err != nil {
		return Report{}, err
	}
	if a.close(o); a.report.misses() {
		wait.For(ctx, again)
		a.report.Second, a.report.Strange = true, 0
		if err := a.look(ctx, began.Add(-clocks)); err != nil {
			return Report{}, err
		}
		a.close(o)
	}
	if a.report.misses() {
		return a.report, a.describe(ctx)
	}
	return a.report, nil
}

// auditor is one audit.
type auditor struct {
	js       jetstream.JetStream
	names    events.Names
	progress func(doing string, done, all int64)
	report   Report
	ledger   *ledger
	edges    edges

	start    uint64                          // where the live consumer was made to begin; 0 without one
	logMade  time.Time                       // when the log was made
	first    uint64                          // the first sequence that stands in the event stream
	promises map[events.Survey]health.Record // of endpoints that are owed to
	nameless bool                            // messages stand there whose subject does not name their survey, and that may be owed
}

// survey finds out where everything begins and ends, before anything is read: what
// is settled later is settled in plain sight.
func (a *auditor) survey(ctx context.Context, o Options) error {
	stream, err := a.js.Stream(ctx, a.names.Stream())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", a.names.Stream(), err)
	}
	info := stream.CachedInfo()
	within := deliverylog.Run{From: o.From, To: o.To}
	if within.From == 0 {
		within.From = max(info.State.FirstSeq, 1)
	}
	if within.To == 0 {
		within.To = info.State.LastSeq
	}
	switch {
	case within.To > info.State.LastSeq:
		return fmt.Errorf("sequence %d lies in the future: the last one of %s is %d", within.To, info.Config.Name, info.State.LastSeq)
	case within.From > within.To:
		return fmt.Errorf("from sequence %d to %d: %w", within.From, within.To, ErrEmpty)
	case within.Len() > MostSequences:
		return fmt.Errorf("sequences %d to %d are more than the %d that one audit takes", within.From, within.To, MostSequences)
	}
	a.ledger, a.first = newLedger(within), info.State.FirstSeq
	a.report = Report{Stream: info.Config.Name, Created: layout.Born(info), From: within.From, To: within.To}
	if err := a.findFloor(ctx, stream, a.report.Created); err != nil {
		return err
	}
	return a.findLog(ctx)
}

// findFloor finds up to where everything is settled: where the live consumer
// stands, or, when its state was lost, where it stood.
func (a *auditor) findFloor(ctx context.Context, stream jetstream.Stream, created time.Time) error {
	cons, err := stream.Consumer(ctx, a.names.Consumer())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
	case err != nil:
		return fmt.Errorf("look at consumer %s: %w", a.names.Consumer(), err)
	default:
		info := cons.CachedInfo()
		a.edges.floor, a.start = info.AckFloor.Stream, info.Config.OptStartSeq
	}
	position, known, err := mark.Read(ctx, a.js, a.names)
	if err != nil {
		return err
	}
	if known && position.Created.Equal(created) {
		a.edges.floor = max(a.edges.floor, position.Floor)
	}
	alarm, err := mark.Check(ctx, a.js, layout.Layout{Names: a.names})
	if alarm != nil {
		a.report.Alarm = alarm.Error()
	}
	return err
}

// findLog finds since when the log tells of everything.
func (a *auditor) findLog(ctx context.Context) error {
	stream, err := a.js.Stream(ctx, a.names.Attempts())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", a.names.Attempts(), err)
	}
	info := stream.CachedInfo()
	a.logMade = layout.Born(info)
	a.report.LogFrom = a.logMade
	if state := info.State; state.FirstSeq > 1 && state.Msgs > 0 {
		a.report.LogFrom = state.FirstTime // what stood before it was dropped by its limits
	} else if state.FirstSeq > 1 {
		a.report.LogFrom = time.Now()
	}
	return nil
}

// look reads every place once, in the order in which events move.
func (a *auditor) look(ctx context.Context, logSince time.Time) error {
	for _, read := range []func(context.Context) error{a.readPromises, a.readEvents, a.readNameless, a.readLanes, a.readLetters} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	return a.readLog(ctx, logSince)
}

func (a *auditor) readPromises(ctx context.Context) error {
	a.promises = map[events.Survey]health.Record{}
	for e, err := range health.List(ctx, a.js, a.names) {
		if err != nil {
			return err
		}
		if e.OwedFrom != 0 {
			a.promises[e.Survey] = e.Record
		}
	}
	return nil
}

// readEvents reads what stands in the event stream, headers alone.
func (a *auditor) readEvents(ctx context.Context) error {
	a.nameless = false
	return a.walk(ctx, "reading the event stream", walk.Options{From: a.ledger.within.From}, func(m walk.Message) {
		switch survey := a.names.SubjectSurvey(m.Subject); {
		case survey != "" && a.owes(survey, m):
			a.ledger.note(m.Sequence, stored|promised)
		case survey != "":
			a.ledger.note(m.Sequence, stored)
		case m.Subject == a.names.Subjects()[0]:
			a.ledger.note(m.Sequence, stored)
			a.nameless = a.nameless || len(a.promises) > 0
		case layout.Covers(a.names.Subjects()[1], m.Subject):
			a.ledger.note(m.Sequence, stored) // its survey is not valid: a dead letter
		default:
			a.ledger.note(m.Sequence, stored|foreign)
		}
		a.age(m)
	})
}

// age finds the last one that is too old for the log.
func (a *auditor) age(m walk.Message) {
	if m.Time.Before(a.report.LogFrom) || m.Sequence < a.start && m.Time.Before(a.logMade.Add(firstRun)) {
		a.edges.old = max(a.edges.old, m.Sequence)
	}
}

func (a *auditor) owes(survey events.Survey, m walk.Message) bool {
	r, known := a.promises[survey]
	return known && r.Owes(m.Sequence, m.Time)
}

// readNameless reads the bodies of those whose subject does not name their survey,
// where something is owed.
func (a *auditor) readNameless(ctx context.Context) error {
	if !a.nameless {
		return nil
	}
	from := a.ledger.within.To
	for _, r := range a.promises {
		for _, p := range r.Promises() {
			from = min(from, p.From)
		}
	}
	o := walk.Options{Subjects: a.names.Subjects()[:1], From: max(from, a.ledger.within.From), Bodies: true}
	return a.walk(ctx, "reading bodies", o, func(m walk.Message) {
		e, err := a.names.DecodeMax(m.Subject, nil, m.Body, len(m.Body))
		if err == nil && a.owes(e.Survey, m) {
			a.ledger.note(m.Sequence, promised)
		}
	})
}

// walk reads the event stream to the range's end.
func (a *auditor) walk(ctx context.Context, doing string, o walk.Options, do func(walk.Message)) error {
	n := int64(0)
	for m, err := range walk.Stream(ctx, a.js, a.names.Stream(), o) {
		if err != nil {
			return err
		}
		if m.Sequence > a.ledger.within.To {
			break
		}
		do(m)
		n++
		left := min(m.Left, a.ledger.within.To-m.Sequence)
		a.progress(doing, n, n+int64(left)) //nolint:gosec // far from what an int64 holds
	}
	return nil
}

func (a *auditor) readLanes(ctx context.Context) error {
	n := int64(0)
	for s, err := range lanes.All(ctx, a.js, a.names, "") {
		switch {
		case err != nil:
			return err
		case s.Foreign:
			a.report.Strange++
		case !s.Published.Before(a.report.Created):
			a.ledger.note(s.Source, lane)
		}
		n++
		a.progress("reading the lanes", n, n+int64(s.Left)) //nolint:gosec // far from what an int64 holds
	}
	return nil
}

func (a *auditor) readLetters(ctx context.Context) error {
	n := int64(0)
	for l, err := range deadletters.New(a.js, a.names).List(ctx, deadletters.Filter{}) {
		switch {
		case errors.As(err, new(*deadletters.Unreadable)):
			a.report.Strange++
		case err != nil:
			return err
		case l.Stream == a.report.Stream && !l.Published.Before(a.report.Created):
			a.ledger.note(l.Source, letter)
		}
		n++
		a.progress("reading the dead letters", n, n)
	}
	return nil
}

// readLog reads the delivery log. What it has from before the event stream was
// made tells of another one, which counted its sequences alike.
func (a *auditor) readLog(ctx context.Context, since time.Time) error {
	f := deliverylog.Filter{Since: since, Source: a.ledger.within}
	for r, err := range deliverylog.Read(ctx, a.js, a.names, f) {
		if errors.As(err, new(*deliverylog.Unreadable)) {
			a.report.Strange++
			continue
		}
		if err != nil {
			return err
		}
		a.take(r)
		a.progress("reading the delivery log", a.ledger.proven, int64(a.ledger.within.Len())) //nolint:gosec // bounded
	}
	return nil
}

// take takes in one record of the log.
func (a *auditor) take(r deliverylog.Record) {
	if r.Test || r.At.Before(a.report.Created.Add(-skew)) {
		return
	}
	switch r.Kind {
	case deliverylog.KindAttempt:
		e := evidence(0)
		if r.Verdict == delivery.Delivered {
			e = delivered
		}
		a.ledger.noteRuns(r.Runs, e)
	case deliverylog.KindNoWebhook:
		a.ledger.noteRuns(r.Runs, unowed)
	case deliverylog.KindDead:
		a.ledger.noteRuns(r.Runs, buried)
	case deliverylog.KindForgotten:
		a.ledger.noteRuns(r.Runs, forgotten)
	case deliverylog.KindOwed, deliverylog.KindParked: // where it went is looked at there
		a.ledger.noteRuns(r.Runs, 0)
	case deliverylog.KindDropped:
		a.ledger.lostRecords(r)
	}
}

// close judges everything that was gathered. What is too old was asked for where a
// start was given, or an end that is too old itself.
func (a *auditor) close(o Options) {
	at := a.edges
	at.old = max(at.old, a.missingOld())
	counts, runs := a.ledger.close(at)
	a.report.Counts, a.report.Runs, a.report.OldTo, a.report.Dropped = map[Fate]uint64{}, runs, 0, 0
	for _, fate := range Fates() {
		a.report.Counts[fate] = counts[fate]
	}
	if at.old >= a.report.From {
		a.report.OldTo = min(at.old, a.report.To)
	}
	asked := o.From != 0 || o.To != 0 && o.To <= at.old
	a.report.TooFar = asked && counts[TooOld] > 0
	for d := range a.ledger.drops {
		a.report.Dropped += d.records
	}
}

// missingOld is up to where sequences before the first that still stands count as
// too old. When those were published nobody knows any more: they may be younger
// than the log, where the event stream keeps less than the log does. The log tells
// of some of those then, and what lies before all of them is taken for older.
func (a *auditor) missingOld() uint64 {
	switch {
	case a.first <= a.report.From, !a.report.Created.Add(firstRun).Before(a.report.LogFrom):
		return 0
	case a.ledger.recorded > 0:
		return min(a.ledger.recorded, a.first) - 1
	default:
		return a.first - 1
	}
}
