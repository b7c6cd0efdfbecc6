package consumer_test

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// Thirty lives are few; task test:lives goes through hundreds, without the race detector.
var seeds = flag.Int("seeds", 30, "how many random lives TestWhateverHappensNothingIsLost goes through")

// TestWhateverHappensNothingIsLost lives through random lives of a deployment:
// endpoints that answer as they like, are changed, switched and removed, replicas
// that come, go and crash, a server that restarts, connections cut in the middle
// of a request, and hours that pass. In the end everything is mended, and every
// event must be delivered, a dead letter, or without a webhook when it came.
func TestWhateverHappensNothingIsLost(t *testing.T) {
	must(t, flag.Set("rapid.checks", strconv.Itoa(*seeds)))
	must(t, flag.Set("rapid.nofailfile", "true")) // a seed is enough: see what it prints
	rapid.Check(t, func(rt *rapid.T) {
		l := life{surveys: rapid.IntRange(1, 3).Draw(rt, "surveys"), steps: rapid.SliceOfN(steps(), 3, 16).Draw(rt, "steps")}
		faults := &faults{}
		synctest.Test(t, func(t *testing.T) {
			faults.TB = t
			l.live(faults)
		})
		if len(faults.found) > 0 {
			rt.Fatalf("%s\n%s", strings.Join(faults.found, "\n"), l)
		}
	})
}

// TestAReplicaThatIsCutOffWhenItStartsOwnsItsLanes is a life that went wrong every
// other time: the announcement of the only replica failed, and the shard that came
// free in the same moment had it forget that.
func TestAReplicaThatIsCutOffWhenItStartsOwnsItsLanes(t *testing.T) {
	l := life{surveys: 2, steps: []event{
		{what: "answers", survey: 2, wait: 7 * time.Second, text: "503"},
		{what: "publish", survey: 2, n: 14, wait: time.Second},
		{what: "replica crashes", wait: time.Minute},
		{what: "publish", survey: 1, n: 10},
		{what: "wire is cut", n: 12},
		{what: "publish", survey: 2, n: 35, wait: 100 * time.Millisecond},
	}}
	for range 5 {
		synctest.Test(t, func(t *testing.T) { l.live(t) })
	}
}

// faults collects what a life got wrong, so that a shorter one can be looked for.
type faults struct {
	testing.TB
	mu    sync.Mutex // guards found
	found []string
}

func (f *faults) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

func (f *faults) Error(args ...any) { f.Errorf("%s", fmt.Sprint(args...)) }

// life is one random life.
type life struct {
	surveys int
	steps   []event
}

// event is one thing that happens in it.
type event struct {
	what   string
	survey int
	n      int
	wait   time.Duration
	text   string
}

func (e event) String() string {
	return fmt.Sprintf("%s survey=%d n=%d wait=%s %s", e.what, e.survey, e.n, e.wait, e.text)
}

func (l life) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d surveys", l.surveys)
	for _, e := range l.steps {
		fmt.Fprintf(&b, "\n  %s", e)
	}
	return b.String()
}

// happenings are what may happen; those that come twice happen twice as often.
var happenings = []string{
	"publish", "publish", "publish", "publish", "poison", "answers", "answers", "answers", "wait", "wait", "wait",
	"change", "remove", "switch off", "restore", "replica joins", "replica leaves", "replica crashes", "server restarts", "wire is cut", "replay",
}

func steps() *rapid.Generator[event] {
	return rapid.Custom(func(t *rapid.T) event {
		return event{
			what: rapid.SampledFrom(happenings).Draw(t, "what"), survey: rapid.IntRange(0, 2).Draw(t, "survey"), n: rapid.IntRange(1, 40).Draw(t, "n"),
			wait: rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, time.Second, 7 * time.Second, time.Minute, 5 * time.Minute, 20 * time.Minute}).Draw(t, "wait"),
			text: rapid.SampledFrom([]string{"200", "500", "503", "429", "410", "hangs", "slow"}).Draw(t, "answer"),
		}
	})
}

// cuts are requests in the middle of which a connection may break.
var cuts = []string{
	"HPUB webhooks.lanes.", "Nats-Batch-Commit", "+TERM", "+ACK", "webhook_health", "STREAM.PURGE.WEBHOOK_LANES", "STREAM.MSG.GET", "DIRECT.GET.WEBHOOK_LANES", "MSG.NEXT", "webhooks.dead",
}

// answersBy is what a receiver does.
var answersBy = map[string]answer{
	"200": {status: 200}, "500": {status: 500}, "503": {status: 503}, "410": {status: http.StatusGone},
	"429":   {status: 429, header: map[string]string{"Retry-After": "90"}},
	"hangs": {status: 200, after: time.Hour}, "slow": {status: 200, after: 300 * time.Millisecond},
}

// live goes through the life and looks at what became of every event.
func (l life) live(t testing.TB) {
	bustest.EmptyPools()
	w := newWorld(t)
	w.laneMost, w.disable, w.calm = 15, 40*time.Minute, 20*time.Second
	settled := &settledWithout{seqs: map[uint64]bool{}}
	w.history = settled
	for i := range l.surveys {
		w.endpoint(survey(i))
	}
	w.start()
	disturbed := 0
	for _, e := range l.steps {
		e.survey %= l.surveys
		disturbed += w.happen(e)
		w.advance(e.wait)
	}
	w.mend(l.surveys)
	buried := w.buried()
	for id, p := range w.published {
		if w.internet.at(p.survey).accepted(id) == 0 && (!settled.has(p.seq) || !w.unwired[p.survey]) && !slices.Contains(buried, p.seq) {
			t.Errorf("event %s (survey %s, sequence %d) was neither delivered nor buried, and had a webhook", id, p.survey, p.seq)
		}
	}
	// Each disturbance may cost what was in flight: the slots, and a lane's budget for each survey.
	if twice := w.duplicates(); twice > disturbed*(storySlots+64*l.surveys) {
		t.Errorf("%d duplicates after %d disturbances", twice, disturbed)
	}
	for _, id := range w.jobs {
		if job := w.job(id); job.State != replay.Done {
			t.Errorf("a replay was never done: %+v", job)
		}
	}
	w.checkReceived()
	w.close()
}

func survey(i int) string { return fmt.Sprint("s", i) }

// happen lets one thing happen. It returns 1 when that may make duplicates.
func (w *world) happen(e event) int {
	r := w.internet.at(survey(e.survey))
	switch e.what {
	case "publish":
		w.publishMany(survey(e.survey), e.n)
	case "poison":
		w.publishPoison(r, survey(e.survey))
	case "answers":
		r.follows(answersBy[e.text])
		if e.text == "410" {
			return 1 // what it accepted in the moment it said that it is gone may be owed as well
		}
	case "change", "restore":
		w.endpoint(survey(e.survey))
	case "remove":
		w.remove(survey(e.survey))
	case "switch off":
		w.switchOff(survey(e.survey))
	case "replica joins":
		if len(w.alive()) < 3 {
			w.start()
		}
	case "replica leaves":
		for _, replica := range w.alive()[:min(1, len(w.alive()))] {
			replica.leave()
			replica.expire() // what it could not give back, for NATS was away
		}
	case "replica crashes":
		for _, replica := range w.alive()[:min(1, len(w.alive()))] {
			replica.crash()
		}
		return 1
	case "server restarts":
		w.haltHeld()
		time.Sleep(e.wait / 10)
		w.boot()
		return 1
	case "replay":
		w.replaySettled(e)
	case "wire is cut":
		w.wire.CutAfter(e.n%4, bustest.Part(e.n%2), cuts[e.n%len(cuts)])
		return 1
	}
	return 0
}

// replaySettled starts a replay of what the live consumer has settled, as `webhooks
// replay start` does: of one survey or of all.
func (w *world) replaySettled(e event) {
	w.t.Helper()
	end := w.info().AckFloor.Stream
	if end == 0 {
		return
	}
	w.jobs = append(w.jobs, w.replay(func(r *replay.Record) {
		r.End, r.Rate = end, float64(e.n%3)*10
		if e.n%2 == 0 {
			r.Surveys = []events.Survey{events.Survey(survey(e.survey))}
		}
	}))
}

// alive are the replicas that run.
func (w *world) alive() []*replica {
	var alive []*replica
	for _, r := range w.replicas {
		if !r.ended {
			alive = append(alive, r)
		}
	}
	return alive
}

func (w *world) switchOff(survey string) {
	w.t.Helper()
	if !w.hasWebhook(survey) {
		return
	}
	w.unwired[survey] = true
	e := w.stored(survey)
	e.Enabled = false
	w.put(e)
}

// mend makes everything work, and gives it the time that takes.
func (w *world) mend(surveys int) {
	for i := range surveys {
		r := w.internet.at(survey(i))
		r.follows(answer{status: 200})
		r.mu.Lock()
		r.refuses = nil
		r.mu.Unlock()
	}
	if len(w.alive()) == 0 {
		w.start()
	}
	w.advance(time.Minute) // until every lane has an owner and nothing fails any more
	for i := range surveys {
		w.endpoint(survey(i)) // once must be enough. Those that failed by themselves need not wait for their own time
	}
	w.advance(10 * time.Minute)
	w.wantSettled()
	w.wantParked(0)
	for i := range surveys {
		w.wantNoHealth(survey(i))
	}
}

// duplicates counts what was accepted once more, but for what a replay was to send.
func (w *world) duplicates() int {
	n := 0
	for id, p := range w.published {
		accepted := -1
		for _, q := range w.internet.at(p.survey).seen() {
			if q.id == id && q.status >= 200 && q.status <= 299 && q.header.Get(delivery.HeaderReplay) == "" {
				accepted++
			}
		}
		n += max(accepted, 0)
	}
	return n
}

// settledWithout remembers the events that were acknowledged because their survey
// had no webhook when they came.
type settledWithout struct {
	mu   sync.Mutex // guards seqs
	seqs map[uint64]bool
}

// Attempt implements consumer.History.
func (*settledWithout) Attempt(uint64, delivery.Attempt) {}

// Settled implements consumer.History.
func (s *settledWithout) Settled(kind deliverylog.Kind, _ events.Survey, seq uint64) {
	if kind != deliverylog.KindNoWebhook {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seqs[seq] = true
}

func (s *settledWithout) has(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seqs[seq]
}
