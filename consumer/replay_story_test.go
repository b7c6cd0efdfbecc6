package consumer_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// replay starts a replay of everything stored so far; change says what else.
func (w *world) replay(change func(r *replay.Record)) string {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.layout.Names.Stream())
	must(w.t, err)
	info := stream.CachedInfo()
	r := replay.Record{
		ID: replay.NewID(), At: time.Now(), StreamCreated: info.Created, Start: max(info.State.FirstSeq, 1), End: info.State.LastSeq,
		Rate: replay.DefaultRate, State: replay.Running, Since: time.Now(),
	}
	if change != nil {
		change(&r)
	}
	r.Events, err = replay.Count(w.t.Context(), w.js, w.layout.Names, r.Surveys, r.Start, r.End)
	must(w.t, err)
	must(w.t, replay.Create(w.t.Context(), w.js, w.layout.Names, r))
	return r.ID
}

// job is a replay as it stands.
func (w *world) job(id string) replay.Record {
	w.t.Helper()
	r, err := replay.Look(w.t.Context(), w.js, w.layout.Names, id)
	must(w.t, err)
	return r
}

// wantDone checks that a replay is done, and its consumer gone.
func (w *world) wantDone(id string, counts replay.Counts) {
	w.t.Helper()
	if r := w.job(id); r.State != replay.Done || r.Counts != counts {
		w.t.Errorf("the replay is %s with %+v, want done with %+v", r.State, r.Counts, counts)
	}
	if w.cursor(id) != nil {
		w.t.Error("the replay's consumer is still there")
	}
}

// cursor is a replay's consumer as the server sees it; nil when there is none.
func (w *world) cursor(id string) *jetstream.ConsumerInfo {
	w.t.Helper()
	c, err := w.js.Consumer(w.t.Context(), w.layout.Names.Stream(), w.layout.Names.ReplayConsumer(id))
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}

// change changes a replay as a person does.
func (w *world) change(id string, do func(r *replay.Record, at time.Time) error) {
	w.t.Helper()
	_, err := replay.Change(w.t.Context(), w.js, w.layout.Names, id, func(r *replay.Record) error { return do(r, time.Now()) })
	must(w.t, err)
}

// replayed counts the requests that bear a replay's id.
func (r *receiver) replayed(id string) int {
	n := 0
	for _, q := range r.seen() {
		if q.header.Get(delivery.HeaderReplay) == id {
			n++
		}
	}
	return n
}

func TestAReplaySendsStoredEventsAgainUnderTheirIDs(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.endpoint("s2")
		w.start()
		ids := w.publishMany("s1", 40)
		others := w.publishMany("s2", 10)
		w.publish("nobody")
		w.advance(time.Second)
		job := w.replay(nil)
		later := w.publishMany("s1", 20) // beyond its end
		w.advance(5 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 50, NoWebhook: 1})
		for _, id := range append(ids, others...) {
			w.wantDelivered(id, 2)
		}
		for _, id := range later {
			w.wantDelivered(id, 1)
		}
		if n := r.replayed(job); n != 40 {
			t.Errorf("%d requests bear the replay's id, want 40", n)
		}
		first := slices.IndexFunc(r.seen(), func(q request) bool { return q.header.Get(delivery.HeaderReplay) == job })
		if q := r.seen()[first]; q.header.Get("webhook-id") != q.id || q.attempt != "1" {
			t.Errorf("a replayed request is attempt %s of %s, with the webhook-id %s", q.attempt, q.id, q.header.Get("webhook-id"))
		}
		w.wantSettled()
	})
}

func TestAReplayOfSurveysReadsTheirEventsWhereverTheyStand(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		for _, s := range []string{"s1", "s2", "s3"} {
			w.endpoint(s)
		}
		w.start()
		ids := append(w.publishMany("s1", 5), w.publishMany("s2", 5)...)
		other := w.publishMany("s3", 5)
		ids = append(ids, w.publishBare("s1"))
		other = append(other, w.publishBare("s3"))
		w.advance(time.Second)
		job := w.replay(func(r *replay.Record) { r.Surveys = []events.Survey{"s1", "s2"} })
		w.advance(5 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 11, Skipped: 1})
		for _, id := range ids {
			w.wantDelivered(id, 2)
		}
		for _, id := range other {
			w.wantDelivered(id, 1)
		}
		one := w.replay(func(r *replay.Record) { r.Response = ids[3] })
		w.advance(5 * time.Second)
		w.wantDone(one, replay.Counts{Delivered: 1, Skipped: 16})
		w.wantDelivered(ids[3], 3)
	})
}

// publishBare publishes on the subject that names no survey.
func (w *world) publishBare(survey string) string {
	w.t.Helper()
	w.seq++
	id := fmt.Sprintf("r-%04d", w.seq)
	body := fmt.Sprintf(`{"event":"response.completed","timestamp":"2000-01-01T00:00:00Z","survey":{"id":%q},"response":{"id":%q}}`, survey, id)
	ack, err := w.js.Publish(w.t.Context(), w.layout.Names.Subjects()[0], []byte(body))
	must(w.t, err)
	w.published[id] = &published{id: id, survey: survey, seq: ack.Sequence, body: body}
	return id
}

func TestAReplayHoldsItsRateWithAllReplicasTogether(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.start()
		w.start()
		w.advance(10 * time.Second) // they know of each other
		w.publishMany("s1", 600)
		w.advance(5 * time.Second)
		began := time.Now()
		job := w.replay(func(r *replay.Record) { r.Rate = 20 })
		w.advance(10 * time.Second)
		if n := r.replayed(job); n < 150 || n > 210 {
			t.Errorf("%d events in ten seconds at 20 a second", n)
		}
		w.advance(25 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 600})
		if took := w.job(job).Since.Sub(began); took < 25*time.Second {
			t.Errorf("600 events at 20 a second took %s", took)
		}
	})
}

func TestAReplicaThatCrashesInTheMiddleOfAReplayLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.endpoint("s2")
		crash := w.start()
		w.start()
		w.advance(10 * time.Second)
		ids := append(w.publishMany("s1", 300), w.publishMany("s2", 300)...)
		w.advance(5 * time.Second)
		r.follows(answer{status: 200, after: 200 * time.Millisecond})
		job := w.replay(func(r *replay.Record) { r.Rate = 100 })
		w.advance(3 * time.Second)
		inHand := w.cursor(job).NumAckPending
		crash.crash()
		w.advance(2 * time.Minute)
		if j := w.job(job); j.State != replay.Done {
			t.Errorf("the replay is %s: %+v", j.State, j)
		}
		if inHand == 0 || inHand > 40 {
			t.Errorf("%d events were in flight, at 100 a second and 200 ms each", inHand)
		}
		w.wantReplayed(ids, inHand)
	})
}

// wantReplayed checks that each event was accepted once more, and so many twice at
// most.
func (w *world) wantReplayed(ids []string, most int) {
	w.t.Helper()
	twice := 0
	for _, id := range ids {
		n := w.internet.at(w.published[id].survey).accepted(id)
		if n < 2 {
			w.t.Errorf("event %s was accepted %d times, want it replayed", id, n)
		}
		twice += max(n-2, 0)
	}
	if twice > most {
		w.t.Errorf("%d events were replayed twice, more than the %d that were in flight", twice, most)
	}
}

func TestAReplaySurvivesARestartOfNATS(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.start()
		w.start()
		w.advance(10 * time.Second)
		ids := w.publishMany("s1", 400)
		w.advance(5 * time.Second)
		r.follows(answer{status: 200, after: 100 * time.Millisecond})
		job := w.replay(func(r *replay.Record) { r.Rate = 100 })
		w.advance(2 * time.Second)
		inHand := w.cursor(job).NumAckPending
		w.haltHeld()
		w.advance(3 * time.Second)
		w.boot()
		w.advance(2 * time.Minute)
		if j := w.job(job); j.State != replay.Done {
			t.Errorf("the replay is %s: %+v", j.State, j)
		}
		if inHand == 0 || inHand > 20 {
			t.Errorf("%d events were in flight, at 100 a second and 100 ms each", inHand)
		}
		w.wantReplayed(ids, inHand) // a server that stops writes down what was acknowledged
		w.wantSettled()
	})
}

func TestACancelledReplayStopsWhereItIs(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.start()
		w.start()
		w.advance(10 * time.Second)
		w.publishMany("s1", 500)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.Rate = 50 })
		w.advance(4 * time.Second)
		w.change(job, (*replay.Record).Drop)
		w.advance(2 * time.Second)
		sent := r.replayed(job)
		if sent < 100 || sent > 260 {
			t.Errorf("%d events were sent in four seconds at 50 a second", sent)
		}
		w.advance(2 * ackWait)
		if n := r.replayed(job); n != sent {
			t.Errorf("%d events were sent after it was cancelled", n-sent)
		}
		if j := w.job(job); j.State != replay.Cancelled || j.Counts.Delivered != uint64(sent) {
			t.Errorf("the replay is %+v, want it cancelled with %d delivered", j, sent)
		}
		if w.cursor(job) != nil {
			t.Error("the replay's consumer is still there")
		}
		_, err := replay.Change(t.Context(), w.js, w.layout.Names, job, func(r *replay.Record) error { return r.Go(time.Now()) })
		if err == nil || !strings.Contains(err.Error(), "is cancelled: it cannot be resumed") {
			t.Errorf("resuming a cancelled replay says %v", err)
		}
	})
}

func TestAPausedReplayGoesOnWhereItStood(t *testing.T) {
	long := 26 * time.Hour // its consumer is forgotten meanwhile
	if raced {
		long = time.Hour
	}
	story(t, func(t *testing.T, w *world) {
		w.calm = 5 * time.Minute
		r := w.endpoint("s1")
		w.start()
		ids := w.publishMany("s1", 200)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.Rate = 20 })
		w.advance(4 * time.Second)
		w.change(job, (*replay.Record).Stop)
		w.advance(2 * time.Second)
		sent := r.replayed(job)
		w.advance(long)
		if n := r.replayed(job); n != sent || sent == 0 {
			t.Errorf("%d events were sent, %d of them while it was paused", n, n-sent)
		}
		w.change(job, (*replay.Record).Go)
		w.advance(20 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 200})
		w.wantReplayed(ids, 0)
	})
}

func TestTwoReplaysAtOnceSendEachOfTheirEvents(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.endpoint("s2")
		w.start()
		w.start()
		w.advance(10 * time.Second)
		both := w.publishMany("s1", 100)
		w.publishMany("s2", 100)
		w.advance(5 * time.Second)
		all := w.replay(func(r *replay.Record) { r.Rate = 50 })
		one := w.replay(func(r *replay.Record) { r.Surveys, r.Rate = []events.Survey{"s1"}, 50 })
		w.advance(20 * time.Second)
		w.wantDone(all, replay.Counts{Delivered: 200})
		w.wantDone(one, replay.Counts{Delivered: 100})
		for _, id := range both {
			w.wantDelivered(id, 3)
		}
		if r.replayed(all) != 100 || r.replayed(one) != 100 {
			t.Errorf("%d and %d requests bear the replays' ids, want 100 each", r.replayed(all), r.replayed(one))
		}
	})
}

func TestAReplayOverADeadEndpointParksAndHoldsNobodyUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		dead := w.endpoint("dead")
		w.endpoint("healthy")
		w.start()
		w.start()
		w.advance(10 * time.Second)
		waiting, fine := w.publishMany("dead", 100), w.publishMany("healthy", 100)
		w.advance(5 * time.Second)
		dead.answers(500)
		live := w.publishMany("dead", 20) // these wait in the lane already
		w.advance(5 * time.Second)
		tried := len(dead.seen())
		job := w.replay(nil)
		w.advance(20 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 100, Parked: 120})
		w.wantReplayed(fine, 0)
		if n := len(dead.seen()) - tried; n > 20 {
			t.Errorf("%d requests to an endpoint that is known to fail", n)
		}
		w.wantParked(120)
		dead.answers(200)
		w.advance(6 * time.Minute)
		w.wantReplayed(waiting, 0)
		for _, id := range live {
			w.wantDelivered(id, 1) // in its lane it was recognised
		}
		w.wantParked(0)
		if n := dead.replayed(job); n < 100 {
			t.Errorf("%d requests from the lane bear the replay's id, want 100", n)
		}
	})
}

func TestAReplayLeavesHalfOfALaneToLiveEvents(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 40
		dead := w.endpoint("dead")
		w.start()
		ids := w.publishMany("dead", 100)
		w.advance(5 * time.Second)
		dead.answers(500)
		live := w.publishMany("dead", 5)
		w.advance(20 * time.Second)
		job := w.replay(func(r *replay.Record) { r.End, r.Rate = 100, 10 })
		w.advance(30 * time.Second)
		j := w.job(job)
		if j.State != replay.Done || j.Counts.Parked+j.Counts.LeftOut != 100 || j.Counts.Parked > 25 || j.Counts.Parked < 10 {
			t.Errorf("the replay is %+v", j)
		}
		if from := j.LeftOut["dead"]; from < 10 || from > 30 {
			t.Errorf("it says that %d is the first one left out", from)
		}
		w.wantParkedAtMost(25)
		dead.answers(200)
		w.advance(6 * time.Minute)
		w.wantAllDelivered(live)
		w.wantParked(0)
		again := w.replay(func(r *replay.Record) { r.Start, r.End = j.LeftOut["dead"], 100 })
		w.advance(10 * time.Second)
		if s := w.job(again).State; s != replay.Done {
			t.Errorf("the second replay is %s", s)
		}
		w.wantReplayed(ids, 30)
	})
}

func TestAReplayOfOneSurveyWaitsForItsBusyEndpoint(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 20
		r := w.endpoint("s1")
		w.start()
		w.publishMany("s1", 600)
		w.advance(5 * time.Minute)
		r.follows(answer{status: 200, after: 900 * time.Millisecond})
		job := w.replay(func(r *replay.Record) { r.Surveys = []events.Survey{"s1"} })
		w.advance(3 * time.Minute)
		j := w.job(job)
		if j.State != replay.Done || j.Counts.LeftOut != 0 || j.Counts.Delivered+j.Counts.Parked != 600 {
			t.Errorf("the replay is %+v", j)
		}
		w.wantParked(0)
	})
}

// limit lets a survey's owner allow so many events a second.
func (w *world) limit(survey string, perSecond float64) {
	w.t.Helper()
	e := w.stored(survey)
	e.RatePerSecond = perSecond
	w.put(e)
}

// TestAReplayOverALimitedEndpointHoldsNobodyUp has more events of one survey than there
// are slots before those of the others, and an owner who allows one a second.
func TestAReplayOverALimitedEndpointHoldsNobodyUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		const slow, quick, laneHalf, seats = 800, 300, 20, 64
		w.laneMost = 2 * laneHalf
		w.endpoint("limited")
		r := w.endpoint("s2")
		w.endpoint("s3")
		w.start()
		var ids []string
		for range slow / 100 { // no more at once than the live path sends without its lane
			ids = append(ids, w.publishMany("limited", 100)...)
			w.advance(time.Second)
		}
		fine, other := w.publishMany("s2", quick), w.publishMany("s3", quick)
		w.advance(5 * time.Second)
		w.wantAllDelivered(append(append(ids, fine...), other...))
		w.limit("limited", 1)
		w.advance(time.Second)
		all := w.replay(nil)
		w.advance(7 * time.Second) // it has come to the limited one's
		one := w.replay(func(r *replay.Record) { r.Surveys = []events.Survey{"s3"} })
		w.advance(5 * time.Second)
		w.wantDone(one, replay.Counts{Delivered: quick})
		w.advance(5 * time.Second)
		if n := r.replayed(all); n != quick {
			t.Errorf("%d of the %d events behind the limited survey's were replayed, after %d slots' worth of which one is sent a second", n, quick, slow)
		}
		w.advance(5 * time.Minute)
		j := w.job(all)
		sum := j.Counts.Delivered + j.Counts.Parked + j.Counts.LeftOut
		if j.State != replay.Done || sum != slow+2*quick || j.Counts.LeftOut < slow-laneHalf-2*seats || j.Counts.LeftOut > slow-laneHalf-seats {
			t.Errorf("the replay is %+v", j)
		}
		from, named := j.LeftOut["limited"]
		if !named || len(j.LeftOut) != 1 {
			t.Errorf("it says that of %v something was left out", j.LeftOut)
		}
		w.limit("limited", 10)
		w.advance(time.Minute)
		rest := w.replay(func(r *replay.Record) { r.Surveys, r.Start = []events.Survey{"limited"}, from })
		w.advance(10 * time.Minute)
		if j := w.job(rest); j.State != replay.Done || j.Counts.LeftOut != 0 {
			t.Errorf("the replay of what was left out is %+v", j)
		}
		w.wantReplayed(ids, slow) // what stood behind the first that was left out, and was not, comes twice
		w.wantParked(0)
	})
}

func TestAReplaySaysWhatLeftTheStreamBeforeItCame(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		ids := w.publishMany("s1", 300)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.Rate = 20 })
		w.advance(2 * time.Second)
		w.change(job, (*replay.Record).Stop)
		w.advance(2 * time.Second)
		stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
		must(t, err)
		must(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(201)))
		w.change(job, (*replay.Record).Go)
		w.advance(20 * time.Second)
		j := w.job(job)
		sent := j.Counts.Delivered
		if j.State != replay.Done || j.Gone != 300-sent || sent < 110 || sent > 190 {
			t.Errorf("the replay is %+v, want those up to 200 gone that it had not sent", j)
		}
		for _, id := range ids[200:] {
			w.wantDelivered(id, 2)
		}
	})
}

// purgeUpTo deletes what stands before a sequence, as a person does.
func (w *world) purgeUpTo(first uint64) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.layout.Names.Stream())
	must(w.t, err)
	must(w.t, stream.Purge(w.t.Context(), jetstream.WithPurgeSequence(first)))
}

// limitTo gives the stream a limit that deletes what stands before a sequence once so
// many more events have come. It is one of messages alone: in a bubble the server ages
// them by a clock outside it, and would delete all of them at once.
func (w *world) limitTo(first uint64, more int) {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), w.layout.Names.Stream())
	must(w.t, err)
	cfg := stream.CachedInfo().Config
	cfg.MaxAge = 0
	cfg.MaxMsgs = int64(stream.CachedInfo().State.LastSeq) + int64(more) - int64(first) + 1 //nolint:gosec // small
	_, err = w.js.UpdateStream(w.t.Context(), cfg)
	must(w.t, err)
}

// TestAReplayWhoseStartIsDeletedWhileItRuns counts what was the replay's of the
// sequences that are gone, by the stream's limit or by hand, tells of them, and sends
// the rest.
func TestAReplayWhoseStartIsDeletedWhileItRuns(t *testing.T) {
	const later = 10 // events that are none of it
	purged := (*world).purgeUpTo
	limited := func(w *world, first uint64) { w.limitTo(first, later) }
	for name, c := range map[string]struct {
		keep   uint64 // the first sequence that is not deleted
		sent   int    // events from there on
		delete func(w *world, first uint64)
	}{
		"a part of it is left":                {401, 100, purged},
		"nothing of it is":                    {601, 0, purged},
		"a limit of the stream leaves a part": {401, 100, limited},
		"a limit of the stream leaves none":   {601, 0, limited},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				r := w.endpoint("s1")
				w.endpoint("s2")
				w.start()
				w.start()
				w.advance(10 * time.Second)
				var ids []string
				for range 300 { // every second sequence is another survey's
					ids = append(ids, w.publish("s1"))
					w.publish("s2")
				}
				w.advance(5 * time.Second)
				job := w.replay(func(r *replay.Record) { r.Surveys, r.Rate = []events.Survey{"s1"}, 20 })
				w.advance(3 * time.Second)
				before := r.replayed(job)
				c.delete(w, c.keep)
				w.publishMany("s1", later)
				stream, err := w.js.Stream(t.Context(), w.layout.Names.Stream())
				must(t, err)
				if first := stream.CachedInfo().State.FirstSeq; first != c.keep {
					t.Errorf("the stream begins at %d, want %d", first, c.keep)
				}
				w.advance(2 * time.Second)
				gone := uint64(300 - before - c.sent) //nolint:gosec // small
				for range 20 {
					j := w.job(job) // what the replicas had sent in the last second was not counted yet: so many at most
					if j.Handled() > j.Events || j.Gone < gone-2 || j.Gone > gone+20 {
						t.Errorf("of %d events that were left, %d were deleted: the replay is %+v, handled %d", 300-before, gone, j, j.Handled())
					}
					w.advance(time.Second)
				}
				j := w.job(job)
				if sent := uint64(before + c.sent); j.State != replay.Done || j.Counts.Delivered < sent || j.Counts.Delivered > sent+2 || j.Uncounted() > 0 { //nolint:gosec // small
					t.Errorf("the replay is %+v, want it done, with %d delivered and the rest gone", j, sent)
				}
				for _, id := range ids[300-c.sent:] {
					w.wantDelivered(id, 2)
				}
				w.wantLog("events have left the event stream before they could be replayed")
			})
		})
	}
}

func TestAReplayWhoseConsumerIsLostGoesOnBehindWhatIsSettled(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		w.start()
		w.advance(10 * time.Second)
		ids := w.publishMany("s1", 300)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.Rate = 20 })
		w.advance(5500 * time.Millisecond)
		must(t, w.js.DeleteConsumer(t.Context(), w.layout.Names.Stream(), w.layout.Names.ReplayConsumer(job)))
		w.advance(30 * time.Second)
		if j := w.job(job); j.State != replay.Done {
			t.Errorf("the replay is %+v", j)
		}
		w.wantReplayed(ids, 45) // two seconds' worth, at most
		w.wantLog("a replay's consumer was lost")
	})
}

func TestAReplayWhoseConsumersStateIsEmptiedSendsNothingTwice(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		ids := w.publishMany("s1", 200)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.Rate = 20 })
		w.advance(5 * time.Second)
		w.change(job, (*replay.Record).Stop)
		w.advance(3 * time.Second)
		w.haltHeld()
		must(t, os.Truncate(w.stateOf(t, w.layout.Names.ReplayConsumer(job)), 0))
		w.boot()
		w.advance(3 * time.Second)
		w.change(job, (*replay.Record).Go)
		w.advance(30 * time.Second)
		w.wantDone(job, replay.Counts{Delivered: 200})
		w.wantReplayed(ids, 0)
	})
}

func TestAReplayOfAStreamThatWasMadeAnewFails(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		w.publishMany("s1", 50)
		w.advance(5 * time.Second)
		job := w.replay(func(r *replay.Record) { r.StreamCreated = r.StreamCreated.Add(-time.Hour) })
		w.advance(5 * time.Second)
		if j := w.job(job); j.State != replay.Failed || !strings.Contains(j.Why, "start another replay by time") {
			t.Errorf("the replay is %+v", j)
		}
		w.wantRequests("s1", 50)
	})
}

func TestAReplayWaitsWhileTheLiveConsumerIsBehind(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		r := w.endpoint("s1")
		w.endpoint("s2")
		rep := w.start()
		w.publishMany("s1", 200)
		w.advance(5 * time.Second)
		rep.leave()
		w.publishMany("s2", 1600)
		w.internet.at("s2").follows(answer{status: 200, after: 900 * time.Millisecond})
		job := w.replay(func(r *replay.Record) { r.Surveys, r.End, r.Rate = []events.Survey{"s1"}, 200, 0 })
		w.start()
		w.advance(3 * time.Second)
		if n := r.replayed(job); n > 0 {
			t.Errorf("%d events were replayed while %d live ones waited", n, w.info().NumPending)
		}
		w.advance(2 * time.Minute)
		w.wantDone(job, replay.Counts{Delivered: 200})
		w.wantSettled()
	})
}

// TestAReplayOverAHundredThousandSurveys shows that nothing in a replay grows with
// the surveys.
func TestAReplayOverAHundredThousandSurveys(t *testing.T) {
	surveys := 100_000
	if raced {
		surveys = 3_000
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const connected = 20
		for i := range connected {
			w.endpoint(fmt.Sprint("s", i))
		}
		w.start()
		for i := range surveys {
			s := fmt.Sprint("s", i)
			_, err := w.js.PublishAsync(w.layout.Names.Subject(events.Survey(s)),
				fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2000-01-01T00:00:00Z","survey":{"id":%q},"response":{"id":"r-%d"}}`, s, i))
			must(t, err)
			if i%1000 == 999 {
				<-w.js.PublishAsyncComplete()
			}
		}
		<-w.js.PublishAsyncComplete()
		w.advance(2 * time.Minute)
		w.wantSettled()
		job := w.replay(func(r *replay.Record) { r.Rate = 0 })
		w.advance(2 * time.Minute)
		w.wantDone(job, replay.Counts{Delivered: connected, NoWebhook: uint64(surveys - connected)})
		for i := range connected {
			w.wantRequests(fmt.Sprint("s", i), 2)
		}
		w.close()
	})
}
