package replay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/events"
)

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func job() Record {
	return Record{ID: "k7x2m4qa", At: born, StreamCreated: born, Start: 101, End: 1040, Rate: 1000, Events: 940, State: Running, Since: born}
}

func TestWhatIsToBeDoneWithAJob(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *Record)
		sight  sight
		want   step
	}{
		"no consumer yet":                      {sight: sight{created: born}, want: stepCreate},
		"the consumer was lost":                {change: func(r *Record) { r.Settled, r.Given = 400, 420 }, sight: sight{created: born}, want: stepCreate},
		"events are left":                      {sight: sight{created: born, cursor: &cursor{given: 300, floor: 200, pending: 700, inHand: 100}}, want: stepWork},
		"the last ones are in hand":            {sight: sight{created: born, cursor: &cursor{given: 1040, floor: 1000, inHand: 40}}, want: stepWork},
		"the last are in hand, others pending": {sight: sight{created: born, cursor: &cursor{given: 1050, floor: 1039, pending: 5, inHand: 1}}, want: stepWork},
		"the floor has passed the end":         {sight: sight{created: born, cursor: &cursor{given: 1050, floor: 1040, pending: 5, inHand: 3}}, want: stepFinish},
		"nothing of it is left":                {sight: sight{created: born, cursor: &cursor{given: 990, floor: 990}}, want: stepFinish},
		"settled, and its consumer gone":       {change: func(r *Record) { r.Settled = 1040 }, sight: sight{created: born}, want: stepFinish},
		"another event stream":                 {sight: sight{created: born.Add(time.Hour), cursor: &cursor{}}, want: stepForeign},
		"paused":                               {change: func(r *Record) { r.State = Paused }, sight: sight{created: born}, want: stepRest},
		"cancelled, and its consumer gone":     {change: func(r *Record) { r.State = Cancelled }, sight: sight{created: born}, want: stepRest},
	} {
		t.Run(name, func(t *testing.T) {
			r := job()
			if c.change != nil {
				c.change(&r)
			}
			if got := judge(r, c.sight); got != c.want {
				t.Errorf("got step %d, want %d", got, c.want)
			}
		})
	}
}

func TestWhichStateFollowsWhich(t *testing.T) {
	verbs := map[string]func(*Record, time.Time) error{"pause": (*Record).Stop, "resume": (*Record).Go, "cancel": (*Record).Drop}
	want := map[string]State{
		"running pause": Paused, "running resume": Running, "running cancel": Cancelled,
		"paused pause": Paused, "paused resume": Running, "paused cancel": Cancelled,
		"cancelled cancel": Cancelled,
	}
	for _, from := range []State{Running, Paused, Cancelled, Done, Failed} {
		for verb, do := range verbs {
			r := job()
			r.State = from
			err := do(&r, born.Add(time.Hour))
			to, allowed := want[string(from)+" "+verb]
			if allowed && (err != nil || r.State != to) {
				t.Errorf("%s, then %s: %s (%v), want %s", from, verb, r.State, err, to)
			}
			if !allowed && (!errors.As(err, new(*Refused)) || r.State != from) {
				t.Errorf("%s, then %s: %s (%v), want it refused", from, verb, r.State, err)
			}
		}
	}
}

func TestProgressOnlyRises(t *testing.T) {
	r := job()
	if !r.report(progress{counts: Counts{Delivered: 10}, settled: 200, given: 210, first: 1}, born) {
		t.Error("progress changed nothing")
	}
	r.report(progress{settled: 150, given: 160, first: 1}, born) // a killed server forgot acknowledgements
	if r.Settled != 200 || r.Given != 210 || r.Gone != 0 {
		t.Errorf("settled %d, given %d, gone %d; want 200, 210 and none", r.Settled, r.Given, r.Gone)
	}
	if r.report(progress{settled: 200, given: 210, first: 1}, born) {
		t.Error("nothing new was written")
	}
	r.report(progress{settled: 2000, given: 3000, first: 301}, born)
	if r.Settled != 1040 || r.Given != 1040 || r.Gone != 90 {
		t.Errorf("settled %d, given %d, gone %d; want its end twice, and the 90 from 211 to 300", r.Settled, r.Given, r.Gone)
	}
	r.report(progress{first: 5000}, born)
	if r.Gone != 90 {
		t.Errorf("%d are gone, although it was through", r.Gone)
	}
}

// TestHowManyOfAJobAreGone has a stream that dropped what was given to nobody, up to
// sequence 600: 490 sequences from 111 on.
func TestHowManyOfAJobAreGone(t *testing.T) {
	for name, c := range map[string]struct {
		events uint64
		after  *after
		want   uint64
	}{
		"nobody has counted":                {940, nil, 490},
		"all sequences are the job's":       {940, &after{left: 440}, 490},
		"a tenth of them is":                {94, &after{left: 44}, 40},
		"some of that are in hand":          {94, &after{left: 44, inHand: 6}, 34},
		"only the last ones were the job's": {50, &after{left: 40}, 0},
		"nothing is left of it":             {94, &after{}, 84},
		"more is left than there ever was":  {94, &after{left: 500}, 0},
	} {
		r := job()
		r.Events, r.Given, r.Settled, r.Counts.Delivered = c.events, 110, 110, 10
		r.report(progress{settled: 110, given: 110, first: 601, after: c.after}, born)
		if r.Gone != c.want || r.Given != 600 {
			t.Errorf("%s: %d are gone up to %d, want %d up to 600", name, r.Gone, r.Given, c.want)
		}
		if r.Handled() > r.Events {
			t.Errorf("%s: %d of %d have come to an end", name, r.Handled(), r.Events)
		}
	}
}

func TestWhatNobodyCountedIsSaidOnceAJobIsDone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Record)
		want   uint64
	}{
		"it runs":                {func(r *Record) { r.State = Running }, 0},
		"it was cancelled":       {func(r *Record) { r.State = Cancelled }, 0},
		"a replica has ended":    {func(*Record) {}, 30},
		"some were counted late": {func(r *Record) { r.Counts.Parked = 25 }, 5},
		"everything adds up":     {func(r *Record) { r.Counts.Parked = 30 }, 0},
		"some left the stream":   {func(r *Record) { r.Gone = 20 }, 10},
		"some came twice":        {func(r *Record) { r.Counts.Delivered = 900 }, 0},
	} {
		r := job()
		r.State, r.Since, r.Events, r.Counts = Done, born, 880, Counts{Delivered: 850}
		if c.change(&r); r.Uncounted() != c.want {
			t.Errorf("%s: %d are not counted, want %d", name, r.Uncounted(), c.want)
		}
	}
	r := Record{State: Done, Since: born}
	if !r.Reporting(born.Add(time.Second)) || r.Reporting(born.Add(time.Minute)) {
		t.Error("replicas write their counts for some seconds after the end, and not for ever")
	}
}

func TestWhatIsLeftOutIsNamedByItsFirstSequence(t *testing.T) {
	r, p := job(), progress{}
	for i := range uint64(maxLeftOut + 50) {
		p.leave(events.Survey("s"+strings.Repeat("x", int(i))), 500+i) //nolint:gosec // small
	}
	p.leave("s", 300)
	p.leave("s", 700)
	r.report(p, born)
	r.report(progress{leftOut: map[events.Survey]uint64{"s": 250, "another": 1}, counts: Counts{LeftOut: 2}}, born)
	if r.LeftOut["s"] != 250 || len(r.LeftOut) != maxLeftOut {
		t.Errorf("survey s from %d on, %d surveys listed; want 250 and %d", r.LeftOut["s"], len(r.LeftOut), maxLeftOut)
	}
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	r := job()
	r.Surveys, r.LeftOut, r.Counts, r.Reason, r.Format = []events.Survey{"s1"}, map[events.Survey]uint64{"s1": 7}, Counts{Delivered: 1, LeftOut: 2}, "why", events.Format
	got, err := decode(encode(r))
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for name, change := range map[string]func(r *Record){
		"another id":         func(r *Record) { r.ID = "a.b" },
		"from nowhere":       func(r *Record) { r.Start = 0 },
		"backwards":          func(r *Record) { r.End = 100 },
		"a negative rate":    func(r *Record) { r.Rate = -1 },
		"too many surveys":   func(r *Record) { r.Surveys = make([]events.Survey, MaxSurveys+1) },
		"a novel for reason": func(r *Record) { r.Reason = strings.Repeat("x", MaxText+1) },
		"no stream":          func(r *Record) { r.StreamCreated = time.Time{} },
	} {
		r := job()
		change(&r)
		if _, err := decode(encode(r)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if _, err := decode([]byte(`{"format":"2"}`)); err == nil || !strings.Contains(err.Error(), "this version reads 1") {
		t.Errorf("a newer format says %v", err)
	}
}

func TestARateIsSharedAndPulledInSmallPieces(t *testing.T) {
	for _, c := range []struct {
		perSecond float64
		replicas  int
		want      rate.Limit
		pull      int
	}{
		{1000, 0, 1000, 20},
		{1000, 4, 250, 5},
		{1, 3, rate.Limit(1.0 / 3), 1},
		{100_000, 1, 100_000, mostPulled},
		{0, 2, rate.Inf, mostPulled},
	} {
		if got := share(c.perSecond, c.replicas); got != c.want || pullSize(got) != c.pull {
			t.Errorf("%g/s over %d replicas: %v each, %d a pull; want %v and %d", c.perSecond, c.replicas, got, pullSize(got), c.want, c.pull)
		}
	}
}

func TestReplaysYieldUntilLiveEventsAreNearlyThrough(t *testing.T) {
	var y Yielding
	for _, c := range []struct {
		lag    uint64
		behind bool
	}{{0, false}, {1000, false}, {1001, true}, {500, true}, {101, true}, {100, false}, {900, false}} {
		if got := y.Behind(c.lag); got != c.behind {
			t.Errorf("with %d waiting: %v, want %v", c.lag, got, c.behind)
		}
	}
}

func TestFiltersReadTheSubjectsOnWhichAnEventCanStand(t *testing.T) {
	names := events.Names{}
	many := make([]events.Survey, fewSurveys+1)
	for name, c := range map[string]struct {
		stream  []string
		surveys []events.Survey
		want    []string
	}{
		"all surveys, our own stream":   {names.Subjects(), nil, nil},
		"all surveys, a shared stream":  {[]string{"responses.>"}, nil, names.Subjects()},
		"one survey":                    {names.Subjects(), []events.Survey{"s1"}, []string{"responses.completed", "responses.completed.s1"}},
		"one survey, no shared subject": {[]string{"responses.completed.*"}, []events.Survey{"s1"}, []string{"responses.completed.s1"}},
		"many surveys":                  {names.Subjects(), many, nil},
	} {
		got := Filters(jetstream.StreamConfig{Subjects: c.stream}, names, c.surveys)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// published is a stream with events at known sequences: three of s1, two of s2, one
// on the subject without a survey.
func published(t *testing.T) (js jetstream.JetStream, names events.Names, fourth time.Time) {
	t.Helper()
	js = bustest.Start(t)
	if _, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"responses.completed.s1", "responses.completed.s2", "responses.completed.s1", "responses.completed", "responses.completed.s2", "responses.completed.s1"} {
		if i == 3 {
			fourth = time.Now()
		}
		if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	return js, names, fourth
}

func TestWhereAMomentIsAndHowManyEventsStandBetween(t *testing.T) {
	js, names, fourth := published(t)
	for _, c := range []struct {
		at   time.Time
		want uint64
	}{{time.Unix(0, 0), 1}, {fourth, 4}, {time.Now(), 7}} {
		if got, err := At(t.Context(), js, names, c.at); err != nil || got != c.want {
			t.Errorf("at %s: sequence %d (%v), want %d", c.at, got, err, c.want)
		}
	}
	for _, c := range []struct {
		surveys    []events.Survey
		start, end uint64
		want       uint64
	}{{nil, 1, 6, 6}, {nil, 2, 4, 3}, {[]events.Survey{"s1"}, 1, 6, 4}, {[]events.Survey{"s1"}, 2, 5, 2}, {[]events.Survey{"s1", "s2"}, 1, 1, 1}} {
		if got, err := Count(t.Context(), js, names, c.surveys, c.start, c.end); err != nil || got != c.want {
			t.Errorf("%v from %d to %d: %d events (%v), want %d", c.surveys, c.start, c.end, got, err, c.want)
		}
	}
}

func TestJobsAreWrittenChangedListedAndForgotten(t *testing.T) {
	js, names, _ := published(t)
	if _, err := Look(t.Context(), js, names, "k7x2m4qa"); !errors.Is(err, ErrNoReplay) {
		t.Errorf("a job that is not there: %v", err)
	}
	for i := range keepEnded + 5 {
		r := job()
		r.ID, r.At = NewID(), born.Add(time.Duration(i)*time.Minute)
		if i > 0 {
			r.State = Done
		}
		if err := Create(t.Context(), js, names, r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := List(t.Context(), js, names)
	if err != nil || len(all) != keepEnded+2 || !all[0].At.After(all[1].At) || all[len(all)-1].State != Running {
		t.Fatalf("%d jobs (%v), want the %d that ended last and one more, the running one, the newest first", len(all), err, keepEnded)
	}
	running := all[len(all)-1].ID
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := Change(t.Context(), js, names, running, func(r *Record) error { r.Counts.Delivered++; return nil })
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if r, err := Look(t.Context(), js, names, running); err != nil || r.Counts.Delivered != 4 {
		t.Errorf("counted %d (%v) by four writers at once, want 4", r.Counts.Delivered, err)
	}
	bad := job()
	bad.ID = "not an id"
	if err := Create(t.Context(), js, names, bad); err == nil {
		t.Error("a job without a proper id was written")
	}
}
