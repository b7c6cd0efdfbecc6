package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/audit"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// logged has everything remembered in the delivery log, which is written when the
// returned function is called.
func (w *world) logged() (flush func()) {
	log := deliverylog.New(w.js, w.layout.Names, deliverylog.Options{Replica: "story"})
	w.history = log
	return func() {
		w.t.Helper()
		must(w.t, log.Flush(w.t.Context()))
	}
}

// audit audits the whole event stream, or a range of it.
func (w *world) audit(from, to uint64) audit.Report {
	w.t.Helper()
	r, err := audit.Run(w.t.Context(), w.js, w.layout.Names, audit.Options{From: from, To: to})
	must(w.t, err)
	return r
}

// wantAudit checks what an audit counts; fates that are not named have none.
func wantAudit(t *testing.T, got audit.Report, want map[audit.Fate]uint64) {
	t.Helper()
	for _, f := range audit.Fates() {
		if got.Counts[f] != want[f] {
			t.Errorf("%d sequences are %s, want %d (%v)", got.Counts[f], f, want[f], got.Runs[f])
		}
	}
	if proven := want[audit.Unproven]+want[audit.Lost] == 0; got.Proven() != proven {
		t.Errorf("proven is %v, want %v", got.Proven(), proven)
	}
}

// seq is where an event stands in the event stream.
func (w *world) seqOf(id string) uint64 { return w.published[id].seq }

// tear takes a message out of a stream, behind everybody's back.
func (w *world) tear(stream string, seq uint64) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), stream)
	must(w.t, err)
	must(w.t, s.DeleteMsg(w.t.Context(), seq))
}

// copyOf is where an event's copy stands in the lanes stream.
func (w *world) copyOf(id string) uint64 {
	w.t.Helper()
	for s, err := range lanes.All(w.t.Context(), w.js, w.layout.Names, "") {
		must(w.t, err)
		if s.EventID == id {
			return s.Sequence
		}
	}
	w.t.Fatalf("event %s is in no lane", id)
	return 0
}

// logMessage is the last message of the delivery log.
func (w *world) logMessage() uint64 {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), w.layout.Names.Attempts())
	must(w.t, err)
	return s.CachedInfo().State.LastSeq
}

func TestAuditFindsWhatWasPlantedAndNothingElse(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 20
		flush := w.logged()
		w.endpoint("fine")
		w.endpoint("dead").answers(500)
		w.endpoint("off")
		off := w.stored("off")
		off.Enabled = false
		w.put(off)
		w.start()
		w.start()
		fine := w.publishMany("fine", 50)
		dead := w.publishMany("dead", 40)
		w.advance(3 * time.Second)
		dead = append(dead, w.publishMany("dead", 60)...)
		switchedOff := w.publishMany("off", 10)
		w.publishMany("nobody", 30)
		w.publishMalformed("fine", "not json")
		w.advance(5 * time.Second)
		flush()
		sound := w.audit(0, 0)
		if !sound.Proven() || sound.Counts[audit.Delivered] != 50 || sound.Counts[audit.NoWebhook] != 30 || sound.Counts[audit.DeadLetter] != 1 ||
			sound.Counts[audit.Owed] == 0 || sound.Counts[audit.WaitingLane] < 30 || sound.Counts[audit.Owed]+sound.Counts[audit.WaitingLane] != 110 {
			t.Fatalf("before anything is planted: %v", sound.Counts)
		}

		// What leaves the event stream when it is settled, or stands elsewhere, is nothing to find.
		w.tear(w.layout.Names.Stream(), w.seqOf(fine[3]))
		w.tear(w.layout.Names.Stream(), w.seqOf(switchedOff[0]))
		wantAudit(t, w.audit(0, 0), sound.Counts)

		// A gap: what is owed has left the event stream.
		gap := w.owedEvent(dead)
		w.tear(w.layout.Names.Stream(), w.seqOf(gap))
		// A loss: a waiting event's copy is gone, and its source as well; another's copy alone.
		lost, torn := switchedOff[5], switchedOff[7]
		w.tear(w.layout.Names.Lanes(), w.copyOf(lost))
		w.tear(w.layout.Names.Stream(), w.seqOf(lost))
		w.tear(w.layout.Names.Lanes(), w.copyOf(torn))
		// A missing record: delivered, and the log does not say so.
		flush()
		before := w.logMessage()
		unsaid := w.publish("fine")
		w.advance(time.Second)
		flush()
		w.wantDelivered(unsaid, 1)
		for seq := before + 1; seq <= w.logMessage(); seq++ { // a probe may have been made as well
			w.tear(w.layout.Names.Attempts(), seq)
		}

		want := maps.Clone(sound.Counts)
		want[audit.Owed]--
		want[audit.WaitingLane] -= 2
		want[audit.Lost], want[audit.Unproven] = 2, 2
		got := w.audit(0, 0)
		wantAudit(t, got, want)
		wantRuns(t, got, audit.Lost, w.seqOf(gap), w.seqOf(lost))
		wantRuns(t, got, audit.Unproven, w.seqOf(torn), w.seqOf(unsaid))

		// Of each it says whose it is, as far as that is known, and when it was published.
		for _, s := range got.Stretches[audit.Unproven] {
			of := map[uint64]events.Survey{w.seqOf(torn): "off", w.seqOf(unsaid): "fine"}[s.From]
			if !slices.Equal(s.Surveys, []events.Survey{of}) || s.After.IsZero() || !s.After.Equal(s.Before) {
				t.Errorf("the unproven stretch %d-%d is of %v, published %s to %s", s.From, s.To, s.Surveys, s.After, s.Before)
			}
		}
		for _, s := range got.Stretches[audit.Lost] {
			if len(s.Surveys) > 0 || s.After.IsZero() || s.Before.Before(s.After) {
				t.Errorf("the lost stretch %d-%d is of %v, published %s to %s", s.From, s.To, s.Surveys, s.After, s.Before)
			}
		}
		if n := len(got.Stretches[audit.Unproven]) + len(got.Stretches[audit.Lost]); n != 4 {
			t.Errorf("%d stretches are described, want 4", n)
		}

		// A loss that the log has counted explains as many as it counts.
		w.plantLoss(w.seqOf(unsaid), 1)
		want[audit.Unproven], want[audit.RecordDropped] = 1, 1
		wantAudit(t, w.audit(0, 0), want)

		// It explains nothing of what has left the event stream: that may never have been sent.
		w.plantLoss(w.seqOf(lost), 1)
		wantAudit(t, w.audit(0, 0), want)

		for _, id := range []string{gap, lost, torn} {
			delete(w.published, id) // the story has lost them itself
		}
	})
}

// TestAuditKnowsStreamsApart: sequences of a stream made anew mean other events
// than the log's records of before.
func TestAuditKnowsStreamsApart(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		w.endpoint("fine")
		r := w.start()
		w.publishMany("fine", 5)
		w.advance(time.Second)
		flush()
		wantAudit(t, w.audit(0, 0), map[audit.Fate]uint64{audit.Delivered: 5})
		r.leave()
		must(t, w.js.DeleteStream(t.Context(), w.layout.Names.Stream()))
		w.advance(time.Minute)
		w.provisionStream()
		skipped := w.publishMany("fine", 3)
		point, err := mark.ParseResumePoint("new")
		must(t, err)
		_, err = mark.Resume(t.Context(), w.js, w.layout, point)
		must(t, err)
		wantAudit(t, w.audit(0, 0), map[audit.Fate]uint64{audit.Unproven: 3})
		for _, id := range skipped {
			delete(w.published, id) // by whoever resumed
		}
	})
}

func (w *world) provisionStream() {
	w.t.Helper()
	_, err := w.js.CreateStream(w.t.Context(), w.layout.Events())
	must(w.t, err)
}

// TestAuditSaysWhatNothingCouldProve: what was published before the delivery log
// begins is neither proven nor missed. It fails an audit that was asked for it.
func TestAuditSaysWhatNothingCouldProve(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		w.endpoint("fine")
		r := w.start()
		w.publishMany("fine", 5)
		w.advance(time.Second)
		flush()
		first := w.logMessage()
		w.advance(2 * time.Minute)
		w.publishMany("fine", 1)
		w.advance(time.Second)
		flush()
		w.advance(2 * time.Minute)
		w.publishMany("fine", 5)
		w.advance(time.Second)
		flush()
		r.leave()
		s, err := w.js.Stream(t.Context(), w.layout.Names.Attempts())
		must(t, err)
		must(t, s.Purge(t.Context(), jetstream.WithPurgeSequence(first+1)))
		got := w.audit(0, 0)
		wantAudit(t, got, map[audit.Fate]uint64{audit.TooOld: 5, audit.Delivered: 6})
		if got.OldTo != 6 {
			t.Errorf("too old up to sequence %d, want 6", got.OldTo)
		}
		w.tear(w.layout.Names.Stream(), 2) // it may have been settled well
		wantAudit(t, w.audit(0, 0), map[audit.Fate]uint64{audit.TooOld: 5, audit.Delivered: 6})
		wantAudit(t, w.audit(7, 9), map[audit.Fate]uint64{audit.Delivered: 3})
		for asked, proven := range map[[2]uint64]bool{{0, 8}: true, {0, 7}: true, {0, 6}: false, {1, 0}: false, {1, 6}: false, {6, 0}: true, {5, 7}: false} {
			if r := w.audit(asked[0], asked[1]); r.Proven() != proven || r.TooFar == proven || r.Counts[audit.Unproven]+r.Counts[audit.Lost] > 0 {
				t.Errorf("of sequences %v all is proven is %v, want %v: %v", asked, r.Proven(), proven, r.Counts)
			}
		}
		for _, c := range [][2]uint64{{5, 4}, {1, 12}, {12, 0}} {
			if _, err := audit.Run(t.Context(), w.js, w.layout.Names, audit.Options{From: c[0], To: c[1]}); err == nil {
				t.Errorf("sequences %d to %d were audited", c[0], c[1])
			}
		}
	})
}

// TestAuditBelowTheFirstEvent: what has left the event stream was settled, or it is
// lost.
func TestAuditBelowTheFirstEvent(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		w.endpoint("fine")
		r := w.start()
		ids := w.publishMany("fine", 5)
		w.advance(time.Second)
		r.leave()
		left := w.publishMany("fine", 2)
		s, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		must(t, s.Purge(t.Context()))
		w.publishMany("fine", 1)
		w.start()
		w.advance(time.Second)
		flush()
		wantAudit(t, w.audit(0, 0), map[audit.Fate]uint64{audit.Delivered: 1})
		wantAudit(t, w.audit(1, 0), map[audit.Fate]uint64{audit.Delivered: 6, audit.Lost: 2})
		w.wantAllDelivered(ids)
		for _, id := range left {
			delete(w.published, id)
		}
	})
}

// TestAuditKnowsWhatIsOwedWithoutASurveyInItsSubject, and what is none of ours.
func TestAuditKnowsWhatIsOwedWithoutASurveyInItsSubject(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		cfg := w.layout.Events()
		cfg.Subjects = append(cfg.Subjects, "others.>")
		_, err := w.js.UpdateStream(t.Context(), cfg)
		must(t, err)
		w.laneMost = 5
		flush := w.logged()
		w.endpoint("dead").answers(500)
		w.start()
		for i := range 20 {
			w.advance(time.Second)
			body := fmt.Sprintf(`{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"dead"},"response":{"id":"bare-%d"}}`, i)
			ack, err := w.js.Publish(t.Context(), w.layout.Names.Subjects()[0], []byte(body))
			must(t, err)
			w.published[fmt.Sprint("bare-", i)] = &published{id: fmt.Sprint("bare-", i), survey: "dead", seq: ack.Sequence, body: body}
			_, err = w.js.Publish(t.Context(), "others.thing", nil)
			must(t, err)
		}
		w.advance(time.Second)
		flush()
		r := w.audit(0, 0)
		if !r.Proven() || r.Counts[audit.NotOurs] != 20 || r.Counts[audit.Owed] == 0 || r.Counts[audit.Owed]+r.Counts[audit.WaitingLane] != 20 {
			t.Errorf("%v, unproven %v", r.Counts, r.Runs[audit.Unproven])
		}
	})
}

// owedEvent is one that no lane holds.
func (w *world) owedEvent(ids []string) string {
	w.t.Helper()
	parked := w.parked()
	for _, id := range slices.Backward(ids) {
		if !slices.Contains(parked, w.seqOf(id)) {
			return id
		}
	}
	w.t.Fatal("every event is in a lane")
	return ""
}

func wantRuns(t *testing.T, r audit.Report, f audit.Fate, seqs ...uint64) {
	t.Helper()
	var got []uint64
	for _, run := range r.Runs[f] {
		for seq := run.From; seq <= run.To; seq++ {
			got = append(got, seq)
		}
	}
	slices.Sort(seqs)
	if !slices.Equal(got, seqs) {
		t.Errorf("%s are %d, want %d", f, got, seqs)
	}
}

// plantLoss has a log write that it has lost records, as one does that had no room.
func (w *world) plantLoss(seq uint64, records int) {
	w.t.Helper()
	full := deliverylog.New(w.js, w.layout.Names, deliverylog.Options{MaxBuffered: 1})
	full.Attempt(1, delivery.Attempt{Survey: "elsewhere", Started: time.Now()}) // and there is no more room
	for range records {
		full.Settled(deliverylog.KindNoWebhook, events.Survey("fine"), seq)
	}
	must(w.t, full.Flush(w.t.Context()))
}

// TestAuditBesideALivelyService audits again and again while events are delivered,
// parked, owed, brought and buried, and replicas come and go: at no moment is an
// event nowhere.
func TestAuditBesideALivelyService(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 30
		log := deliverylog.New(w.js, w.layout.Names, deliverylog.Options{Replica: "story"})
		w.history = log
		writing, stop := context.WithCancel(t.Context())
		written := make(chan error, 1)
		go func() { written <- log.Run(writing) }()
		w.endpoint("fine")
		flaky := w.endpoint("flaky").answers(500)
		w.start()
		for round := range 12 {
			w.publishMany("fine", 20)
			w.publishMany("flaky", 25)
			w.publishMany("nobody", 5)
			w.publishMalformed("fine", "[]")
			if r := w.audit(0, 0); !r.Proven() {
				t.Fatalf("round %d: %v, unproven %v, lost %v", round, r.Counts, r.Runs[audit.Unproven], r.Runs[audit.Lost])
			}
			switch round {
			case 3:
				flaky.answers(200)
			case 5, 9:
				w.start()
			case 7:
				flaky.answers(503)
				w.replicas[0].leave()
			case 10:
				flaky.answers(200)
			}
			w.advance(20 * time.Second)
		}
		w.advance(10 * time.Minute)
		r := w.audit(0, 0)
		wantAudit(t, r, map[audit.Fate]uint64{audit.Delivered: 12 * 45, audit.NoWebhook: 12 * 5, audit.DeadLetter: 12})
		stop()
		must(t, <-written)
	})
}
