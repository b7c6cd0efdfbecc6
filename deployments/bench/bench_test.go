package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheIsolationTableInShort(t *testing.T) {
	bin := built(t)
	c := isolationCommand{
		Warm: time.Second, Measure: 2 * time.Second, Grace: 10 * time.Second, Rounds: 1, Rate: 1000, Sync: "2m", Only: []string{"quiet", "1+1"}, Plain: true,
	}
	all, err := c.outcomes(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if p := o.Publication; p.Acked != p.Published || p.Healthy == 0 {
			t.Errorf("%s with %s: %d events published, %d stored, %d count", o.Scenario, o.Consumer, p.Published, p.Acked, p.Healthy)
		}
		if o.Consumer == "service" && o.Arrivals.Healthy != o.Publication.Healthy {
			t.Errorf("%s: %d of %d healthy events were delivered", o.Scenario, o.Arrivals.Healthy, o.Publication.Healthy)
		}
	}
	text := string(markdown(c.head(), c.rows(all)))
	for _, want := range []string{"| quiet 1000 | service |", "| quiet | plain |", "| 1+1 | service |", "| 1+1 | plain |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table has no row %q:\n%s", want, text)
		}
	}
	t.Log("\n" + text)
}

func TestAnEventSaysWhichItIsAndWhenItWasPublished(t *testing.T) {
	at := time.Unix(1700000000, 123456789)
	body := newEvent(4711, 12, at)
	i, published, err := readEvent(body)
	if err != nil || i != 4711 || published != at.UnixNano() {
		t.Errorf("got event %d of %d (%v), want 4711 of %d", i, published, err, at.UnixNano())
	}
	if n := len(body); n < 900 || n > 1100 {
		t.Errorf("an event has %d bytes, want about 1,000", n)
	}
	if _, _, err := readEvent([]byte("{}")); err == nil {
		t.Error("an empty object passes for an event")
	}
}

func TestALoudSurveyGetsItsShare(t *testing.T) {
	s := scenario{Surveys: 1000, Loud: 100}
	next, loud := s.order(), 0
	const n = 100_000
	for i := range n {
		if next(i) == 999 {
			loud++
		}
	}
	if want := n * 100 / 1099; loud < want*9/10 || loud > want*11/10 {
		t.Errorf("the loud survey got %d of %d events, want about %d", loud, n, want)
	}
}

func TestEveryOtherStretchOfABacklogIsHealthy(t *testing.T) {
	s := scenario{Surveys: 10, Hanging: 2, Failing: 2, Backlog: true, Events: 3000, Stretch: 1000}
	next, sick := s.order(), [3]int{}
	for i := range s.Events {
		if s.kind(next(i)) != healthy {
			sick[i/s.Stretch]++
		}
	}
	if sick[0] < 300 || sick[1] != 0 || sick[2] < 300 {
		t.Errorf("events for failing endpoints by stretch: %v, want about 400, none and about 400", sick)
	}
}

func TestABacklogIsComparedWithItsHealthyStretches(t *testing.T) {
	// Each stretch of a machine that gets slower comes at half of the pace of the one before;
	// beside failing endpoints at nine tenths of that.
	s := scenario{Surveys: 1, Backlog: true, Events: (warmStretches + 5) * 1000, Stretch: 1000}
	a, at, every := newArrivals(s), time.Duration(0), time.Microsecond
	for i := range s.Events {
		if i%s.Stretch == 0 {
			every *= 2
		}
		step := every
		if !s.allHealthy(i) {
			step = every * 10 / 9
		}
		at += step
		if err := a.add(a.began.Add(at), 0, healthy, newEvent(i, 0, a.began), false); err != nil {
			t.Fatal(err)
		}
	}
	rates := a.sum(a.began.Add(at)).Stretches
	if len(rates) != warmStretches+5 || rates[5] < 1e6/64*.99 || rates[5] > 1e6/64*1.01 {
		t.Fatalf("the stretches came at %v a second, want %d, the sixth at %.0f", rates, warmStretches+5, 1e6/64)
	}
	// Of four comparisons two are with the faster neighbour, and two with the slower one.
	if got, want := besideHealthy(rates), .9; got < want*.99 || got > want*1.01 {
		t.Errorf("beside failing endpoints it is %.3f of the healthy rate, want %.3f", got, want)
	}
	for name, rates := range map[string][]float64{"none": nil, "too few": rates[:warmStretches+1], "one has no rate": append(rates[:warmStretches+4:warmStretches+4], 0)} {
		if got := besideHealthy(rates); got != 0 {
			t.Errorf("%s: %.3f, want nothing to be said", name, got)
		}
	}
}

func TestRequestsToAFailingEndpointCountFromItsFirstFailure(t *testing.T) {
	s := scenario{Surveys: 3, Hanging: 1, Failing: 1}
	a := newArrivals(s)
	for _, at := range []time.Duration{0, 4 * time.Second, 29 * time.Second, 34 * time.Second, 36 * time.Second} {
		for survey := range 2 {
			if err := a.add(a.began.Add(at), survey, s.kind(survey), nil, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := a.sum(a.began.Add(time.Minute))
	if want := []int{3, 4}; !slices.Equal(got.FailingTimes, want) || got.FailingMost != 4 || got.FailingRequests != 10 {
		t.Errorf("counted %v, at most %d, %d in all; want %v, 4 and 10", got.FailingTimes, got.FailingMost, got.FailingRequests, want)
	}
}

func TestAScenarioIsComparedWithAllQuietRunsOfAsManySurveys(t *testing.T) {
	c := isolationCommand{Only: []string{"1+1", "99of100", "backlog"}}
	var all []outcome
	add := func(scenario string, p99 ...float64) {
		for _, v := range p99 {
			all = append(all, outcome{Scenario: scenario, Consumer: "service", Arrivals: tally{P99: v, Stretches: slices.Repeat([]float64{v, 10}, 8)}})
		}
	}
	add("quiet 1000", 2, 100, 8)
	add("1+1", 10, 6, 90)
	add("quiet 100", 4)
	add("99of100", 12)
	add("quiet backlog", 1)
	add("backlog", 9.7)
	for _, r := range c.rows(all) {
		want := map[string]float64{"1+1": 10. / 8, "99of100": 3, "backlog": .97}[r.Scenario]
		if r.Ratio < want-.001 || r.Ratio > want+.001 {
			t.Errorf("%s is %.3f of what is quiet, want %.3f", r.Scenario, r.Ratio, want)
		}
		if wrong := slices.Contains([]string{"1+1", "99of100"}, r.Scenario); wrong != (len(r.Faults) > 0) {
			t.Errorf("%s: %v", r.Scenario, r.Faults)
		}
	}
}

func TestTheVerdictNamesWhatWasAskedAndIsNotSo(t *testing.T) {
	for name, c := range map[string]struct {
		r    row
		want string
	}{
		"all is well":                {row{Scenario: "1+1", Ratio: 1.1, FailingMost: 13}, ""},
		"an event is missing":        {row{Scenario: "1+1", Published: 2, Delivered: 1}, "1 healthy events missing"},
		"a healthy event was parked": {row{Scenario: "1+1", Parked: 1}, "1 healthy events parked"},
		"p99 is too high":            {row{Scenario: "1+1", Ratio: 1.3}, "p99 1.30 × quiet, at most 1.2 is allowed"},
		"a storm":                    {row{Scenario: "1+1", FailingMost: 14}, "14 requests to one failing endpoint in 30 s, at most 13 are allowed"},
		"a slow backlog":             {row{Scenario: "backlog", Ratio: .9}, "0.900 of the healthy rate, at least 0.95 is asked"},
	} {
		t.Run(name, func(t *testing.T) {
			c.r.Consumer = "service"
			if got := strings.Join(c.r.judge(scenario{Limit: 1.2}), "; "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
