package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/audit"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/forget"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/events"
)

// publishOf publishes a response of somebody, whose name is in it.
func (w *world) publishOf(survey, id, person string) string {
	w.t.Helper()
	w.publishRaw(survey, id, fmt.Sprintf(
		`{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":%q},"response":{"id":%q,"customParams":{"name":%q}}}`, survey, id, person), false)
	return id
}

// mentions is in which messages of all streams a text is found.
func (w *world) mentions(text string) (where []string) {
	w.t.Helper()
	for name := range w.js.StreamNames(context.Background()).Name() {
		for m, err := range walk.Stream(context.Background(), w.js, name, walk.Options{Bodies: true}) {
			must(w.t, err)
			body := m.Body
			if m.Header.Get("Popsee-Encoding") == "s2" {
				body, err = s2.Decode(nil, body)
				must(w.t, err)
			}
			if strings.Contains(fmt.Sprint(m.Subject, m.Header), text) || bytes.Contains(body, []byte(text)) {
				where = append(where, fmt.Sprintf("%s %d", name, m.Sequence))
			}
		}
	}
	return where
}

// onDisk is in which of the server's files a text is found.
func (w *world) onDisk(text string) (where []string) {
	w.t.Helper()
	must(w.t, filepath.WalkDir(w.server.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it may vanish while it is walked
		}
		if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte(text)) {
			where = append(where, strings.TrimPrefix(path, w.server.Dir()))
		}
		return nil
	}))
	return where
}

func (w *world) forget(o forget.Options) forget.Receipt {
	w.t.Helper()
	r, err := forget.Run(w.t.Context(), w.js, w.layout, o)
	must(w.t, err)
	return r
}

// person is what nothing may hold any more.
const person = "Erika-Mustermann-of-Example-Street"

func TestForgetResponsesWhereverTheyAre(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 10
		log := deliverylog.New(w.js, w.layout.Names, deliverylog.Options{Replica: "story"})
		w.history = log
		writing, stop := context.WithCancel(t.Context())
		written := make(chan error, 1)
		go func() { written <- log.Run(writing) }()
		w.endpoint("fine")
		dead := w.endpoint("dead").answers(500)
		w.start()
		w.start()
		w.publishMany("fine", 20)
		delivered := w.publishOf("fine", "person-delivered", person)
		waiting := w.publishOf("dead", "person-waiting", person)
		others := w.publishMany("dead", 30)
		w.advance(3 * time.Second)
		others = append(others, w.publishMany("dead", 30)...)
		owed := w.publishOf("dead", "person-owed", person)
		others = append(others, w.publishMany("dead", 10)...)
		w.publishRaw("fine", "buried", fmt.Sprintf(`{"event":"response.completed","response":{"id":"person-buried"},"name":%q`, person), true)
		w.advance(5 * time.Second)
		if r := w.audit(0, 0); !r.Proven() || r.Counts[audit.Owed] == 0 {
			t.Fatalf("before: %v", r.Counts)
		}
		all := []string{delivered, waiting, owed, "person-buried"}
		for _, id := range all {
			counted := w.forget(forget.Options{Response: id, DryRun: true})
			if counted.Found() < 1 || len(w.mentions(id)) == 0 {
				t.Errorf("a dry run for %s counts %+v, and it is in %v", id, counted, w.mentions(id))
			}
			receipt := w.forget(forget.Options{Response: id, Wait: forget.DefaultWait})
			if receipt.Found() < counted.Found() || len(receipt.Remains) > 0 || receipt.Passes < 2 {
				t.Errorf("the receipt for %s is %+v, counted were %+v", id, receipt, counted)
			}
			if where := w.mentions(id); len(where) > 0 {
				t.Errorf("%s is still in %v", id, where)
			}
		}
		if where := append(w.mentions(person), w.onDisk(person)...); len(where) > 0 {
			t.Errorf("the person is still in %v", where)
		}
		r := w.audit(0, 0)
		if !r.Proven() || r.Counts[audit.Forgotten] != 4 {
			t.Errorf("after: %v, lost %v, unproven %v", r.Counts, r.Runs[audit.Lost], r.Runs[audit.Unproven])
		}
		dead.answers(200)
		w.advance(20 * time.Minute)
		w.wantAllDelivered(others)
		w.wantParked(0)
		w.wantDelivered(delivered, 1)
		for _, id := range []string{waiting, owed} {
			w.wantDelivered(id, 0)
			w.published[id].forgotten = true
		}
		w.published["buried"].forgotten = true
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("it came back: the person is in %v", where)
		}
		if r := w.audit(0, 0); !r.Proven() {
			t.Errorf("in the end: %v, lost %v, unproven %v", r.Counts, r.Runs[audit.Lost], r.Runs[audit.Unproven])
		}
		stop()
		must(t, <-written)
	})
}

// TestForgetWhatIsInHand: what hangs in a replica's hands while it is erased is
// parked when its time is over, and erased from there.
func TestForgetWhatIsInHand(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		log := deliverylog.New(w.js, w.layout.Names, deliverylog.Options{Replica: "story"})
		w.history = log
		writing, stop := context.WithCancel(t.Context())
		written := make(chan error, 1)
		go func() { written <- log.Run(writing) }()
		w.endpoint("slow").follows(answer{status: 200, after: time.Minute})
		w.start()
		w.advance(time.Second)
		id := w.publishOf("slow", "person-in-hand", person)
		w.advance(time.Second)
		receipt := w.forget(forget.Options{Survey: "slow", Response: id, Wait: forget.DefaultWait})
		if len(receipt.InHand) != 1 || receipt.Lanes.Erased == 0 || len(receipt.Remains) > 0 {
			t.Errorf("the receipt is %+v", receipt)
		}
		w.advance(10 * time.Minute)
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		w.published[id].forgotten = true
		stop()
		must(t, <-written)
	})
}

// TestForgetWithoutWaitingSaysWhatIsInHand: it may still be sent.
func TestForgetWithoutWaitingSaysWhatIsInHand(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("slow").follows(answer{status: 200, after: 4 * time.Second})
		w.start()
		w.advance(time.Second)
		id := w.publishOf("slow", "person-in-hand", person)
		w.advance(time.Second)
		if receipt := w.forget(forget.Options{Survey: "slow", Response: id}); len(receipt.InHand) != 1 || len(receipt.Remains) != 1 {
			t.Errorf("the receipt is %+v", receipt)
		}
		w.advance(time.Minute)
		w.published[id].forgotten = true
	})
}

// TestForgetWhatAReplayHasInHand: it is sent again while it is erased, which the
// receipt says, and does not come back from where the replay parks it.
func TestForgetWhatAReplayHasInHand(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		slow := w.endpoint("slow")
		w.start()
		w.advance(time.Second)
		id := w.publishOf("slow", "person-replayed", person)
		w.publishMany("slow", 5)
		w.advance(5 * time.Second)
		slow.follows(answer{status: 200, after: time.Minute})
		w.replay(func(r *replay.Record) { r.End = w.seqOf(id) })
		w.advance(2 * time.Second)
		flush()
		receipt := w.forget(forget.Options{Survey: "slow", Response: id, Wait: forget.DefaultWait})
		if !slices.Equal(receipt.InHand, []uint64{w.seqOf(id)}) || receipt.EventStream.Erased != 1 || receipt.Lanes.Erased != 1 || len(receipt.Remains) > 0 {
			t.Errorf("the receipt is %+v", receipt)
		}
		flush()
		w.forget(forget.Options{Survey: "slow", Response: id}) // attempts that the log wrote after that
		w.advance(10 * time.Minute)
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		w.published[id].forgotten = true
	})
}

// holding keeps a replayed event in hand, as one whose endpoint is busy is.
type holding struct {
	consumer.Sender
	let chan struct{}
}

func (h holding) Send(ctx context.Context, to *delivery.Target, e events.Event, m delivery.Meta) delivery.Attempt {
	if m.Replay != "" {
		<-h.let
	}
	return h.Sender.Send(ctx, to, e, m)
}

// TestForgetWhatStaysInHand: it comes back from there when everything has been looked
// through, which is not passed over.
func TestForgetWhatStaysInHand(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		let := make(chan struct{})
		w.wrap = func(s consumer.Sender) consumer.Sender { return holding{s, let} }
		slow := w.endpoint("slow")
		w.start()
		w.advance(time.Second)
		w.publishMany("slow", 3)
		id := w.publishOf("slow", "person-held", person)
		w.advance(5 * time.Second)
		slow.answers(500)
		job := w.replay(func(r *replay.Record) { r.Start, r.End = w.seqOf(id), w.seqOf(id) })
		w.advance(2 * time.Second)
		receipt := w.forget(forget.Options{Survey: "slow", Response: id, Wait: forget.DefaultWait})
		if receipt.EventStream.Erased != 1 || receipt.Passes < 3 || len(receipt.Remains) != 1 || !strings.Contains(receipt.Remains[0], "webhooks replay cancel "+job) {
			t.Errorf("the receipt is %+v", receipt)
		}
		close(let)
		w.advance(30 * time.Second)
		if len(w.mentions(person)) == 0 {
			t.Error("it did not come back, so nothing was shown")
		}
		if receipt := w.forget(forget.Options{Survey: "slow", Response: id, Wait: forget.DefaultWait}); receipt.Lanes.Erased != 1 || len(receipt.Remains) != 0 {
			t.Errorf("the second receipt is %+v", receipt)
		}
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		w.published[id].forgotten = true
	})
}

func TestForgetASurvey(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		w.endpoint("going").answers(200, 200, 500)
		w.endpoint("staying").answers(500)
		w.start()
		for i := range 12 {
			w.publishOf("going", fmt.Sprint("going-", i), person)
			w.advance(50 * time.Millisecond)
		}
		stay := w.publishMany("staying", 5)
		w.advance(time.Second)
		w.remove("going")
		w.advance(10 * time.Minute) // its lane becomes dead letters
		flush()
		later := w.publishOf("going", "later", "somebody else")
		receipt := w.forget(forget.Options{Survey: "going"})
		if receipt.EventStream.Erased != 13 || receipt.DeadLetters.Erased == 0 || receipt.DeliveryLog.Erased < 3 || receipt.Passes != 1 {
			t.Errorf("the receipt is %+v", receipt)
		}
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		w.advance(time.Minute)
		flush()
		if parked := w.parked(); len(parked) != len(stay) {
			t.Errorf("%d events of the other survey wait, want %d", len(parked), len(stay))
		}
		if r := w.audit(0, 0); !r.Proven() {
			t.Errorf("%v, lost %v, unproven %v", r.Counts, r.Runs[audit.Lost], r.Runs[audit.Unproven])
		}
		for i := range 12 {
			w.published[fmt.Sprint("going-", i)].forgotten = true
		}
		w.published[later].forgotten = true
	})
}

// erasing is JetStream whose erasures panic over one sequence of a stream.
type erasing struct {
	jetstream.JetStream
	stream string
	seq    uint64
}

func (e erasing) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := e.JetStream.Stream(ctx, name)
	if name != e.stream {
		return s, err
	}
	return erasingStream{s, e.seq}, err
}

type erasingStream struct {
	jetstream.Stream
	seq uint64
}

func (s erasingStream) SecureDeleteMsg(ctx context.Context, seq uint64) error {
	if seq == s.seq {
		panic("with " + person)
	}
	return s.Stream.SecureDeleteMsg(ctx, seq)
}

// TestForgetSurvivesAPanicOverOneMessage: the others are erased, the command fails, and
// what the panic had in hand is not told.
func TestForgetSurvivesAPanicOverOneMessage(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.publishMany("nobody", 20)
		receipt, err := forget.Run(t.Context(), erasing{w.js, w.layout.Names.Stream(), 7}, w.layout, forget.Options{Survey: "nobody"})
		p, is := errors.AsType[*panics.Panic](err)
		if !is || !strings.Contains(p.Stack, "forget_story_test.go:") {
			t.Errorf("it ended with %v, having erased %+v", err, receipt)
		}
		if want := "erase message 7 of " + w.layout.Names.Stream() + ": panic"; err != nil && strings.Count(err.Error(), want) != 1 {
			t.Errorf("it ended with %q, want %q in it", err, want)
		}
		leaktest.Plant(t, person).InValue(t, "the error", err)
		stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		if left := stream.CachedInfo().State; left.Msgs != 1 || left.FirstSeq != 7 {
			t.Errorf("the event stream holds %d messages from %d on, want only 7", left.Msgs, left.FirstSeq)
		}
	})
}

// TestForgetInAnEventStreamThatIsNotOurs: it is said, and nothing there is touched
// unless its owner has agreed.
func TestForgetInAnEventStreamThatIsNotOurs(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		cfg := w.layout.Events()
		cfg.Description = "the platform's"
		_, err := w.js.UpdateStream(t.Context(), cfg)
		must(t, err)
		flush := w.logged()
		w.endpoint("fine")
		w.start()
		id := w.publishOf("fine", "person-delivered", person)
		w.advance(time.Second)
		flush()
		receipt := w.forget(forget.Options{Response: id})
		if receipt.EventStream.Erased != 0 || receipt.DeliveryLog.Erased != 1 || len(receipt.Remains) != 1 || !strings.Contains(receipt.Remains[0], "its owner has to delete") {
			t.Errorf("the receipt is %+v", receipt)
		}
		if receipt := w.forget(forget.Options{Response: id, EventStream: true}); receipt.EventStream.Erased != 1 || len(receipt.Remains) != 0 {
			t.Errorf("the receipt is %+v", receipt)
		}
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		if _, err := forget.Run(t.Context(), w.js, w.layout, forget.Options{}); err == nil {
			t.Error("everything was erased")
		}
	})
}

// TestForgetReplaysOfAResponse: a job that is over is erased, one that is not is
// named.
func TestForgetReplaysOfAResponse(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.publishMany("nobody", 1)
		for id, state := range map[string]replay.State{"over": replay.Done, "paused": replay.Paused} {
			must(t, replay.Create(t.Context(), w.js, w.layout.Names, replay.Record{
				ID: id, Start: 1, End: 1, StreamCreated: time.Now(), Response: "person-replayed", State: state,
			}))
		}
		must(t, replay.Create(t.Context(), w.js, w.layout.Names, replay.Record{ID: "other", Start: 1, End: 1, StreamCreated: time.Now(), State: replay.Done}))
		receipt := w.forget(forget.Options{Response: "person-replayed"})
		if receipt.Replays.Erased != 1 || len(receipt.Remains) != 1 || !strings.Contains(receipt.Remains[0], "webhooks replay cancel paused") {
			t.Errorf("the receipt is %+v", receipt)
		}
		if where := w.mentions("person-replayed"); len(where) != 1 {
			t.Errorf("the response is in %v, want the paused job alone", where)
		}
		if all, err := replay.List(t.Context(), w.js, w.layout.Names); err != nil || len(all) != 2 {
			t.Errorf("%d jobs are left (%v), want two", len(all), err)
		}
	})
}

// TestForgetReplaysOfAResponseWithItsSurvey: those of other surveys, and those that are
// of no response, stay.
func TestForgetReplaysOfAResponseWithItsSurvey(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.publishMany("nobody", 1)
		for id, r := range map[string]replay.Record{
			"its":     {Response: "person-replayed", Surveys: []events.Survey{"s1"}},
			"another": {Response: "person-another", Surveys: []events.Survey{"s2"}},
			"both":    {Response: "person-both", Surveys: []events.Survey{"s1", "s2"}},
			"whole":   {Surveys: []events.Survey{"s1"}},
		} {
			r.ID, r.Start, r.End, r.StreamCreated, r.State = id, 1, 1, time.Now(), replay.Done
			must(t, replay.Create(t.Context(), w.js, w.layout.Names, r))
		}
		if receipt := w.forget(forget.Options{Survey: "s1"}); receipt.Replays.Erased != 1 || len(receipt.Remains) != 0 {
			t.Errorf("the receipt is %+v", receipt)
		}
		if where := w.mentions("person-replayed"); len(where) != 0 {
			t.Errorf("the response is in %v", where)
		}
		if all, err := replay.List(t.Context(), w.js, w.layout.Names); err != nil || len(all) != 3 {
			t.Errorf("%d jobs are left (%v), want three", len(all), err)
		}
	})
}

// TestADeadLetterWithoutASurveyIsForgotten: nobody could read whose it is.
func TestADeadLetterWithoutASurveyIsForgotten(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		flush := w.logged()
		w.start()
		ack, err := w.js.Publish(t.Context(), w.layout.Names.Subjects()[0], []byte(`{"response":{"id":"r-lost"},"name":"`+person))
		must(t, err)
		w.advance(time.Second)
		w.history.Attempt(ack.Sequence+1, delivery.Attempt{Survey: events.Survey("fine"), EventID: "other", Started: time.Now(), Verdict: delivery.Delivered})
		flush()
		receipt := w.forget(forget.Options{Survey: "fine", Response: "r-lost"})
		if receipt.EventStream.Erased != 1 || receipt.DeadLetters.Erased != 1 {
			t.Errorf("the receipt is %+v", receipt)
		}
		if where := w.mentions(person); len(where) > 0 {
			t.Errorf("the person is in %v", where)
		}
		wantAudit(t, w.audit(1, 1), map[audit.Fate]uint64{audit.Forgotten: 1})
	})
}
