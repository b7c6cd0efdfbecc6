package main

import (
	"slices"
	"testing"
	"time"
)

func TestWhatStandsInALaneAndWasDeliveredMayComeAgain(t *testing.T) {
	all := []event{{accepted: 1}, {}, {accepted: 2}, {accepted: 1}, {accepted: 1}}
	w := whereabouts{lane: map[int]bool{0: true, 1: true, 2: true, 4: false}}
	if got := standing(all, w); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("%v stand there, want the first and the third", got)
	}
}

func TestAStormMayCostTenDuplicatesAKill(t *testing.T) {
	for name, c := range map[string]struct {
		f                      fault
		explained, stood, want int
	}{
		"what is not a storm":               {fault{times: 3}, 1480, 7, 1480},
		"a storm":                           {fault{times: storm, each: 10}, 1480, 0, 170},
		"a storm, and what stood in lanes":  {fault{times: storm, each: 10}, 1480, 7, 177},
		"a storm that exposed less":         {fault{times: storm, each: 10}, 90, 7, 90},
		"its last part, of a few kills":     {fault{times: 3, each: 10}, 1480, 0, 170},
		"more kills than a storm has today": {fault{times: 2 * storm, each: 10}, 1480, 0, 340},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.f.bound(c.explained, c.stood); got != c.want {
				t.Errorf("%d may be, want %d", got, c.want)
			}
		})
	}
	storms := 0
	for _, f := range clustered(50) {
		if f.name == "kill -9 replicas" && f.each > 0 && f.times > 0 {
			storms += f.times
		}
	}
	if storms != 50 {
		t.Errorf("%d kills of 50 are bounded on average", storms)
	}
}

func TestOnlyAnswersOfItsTimeAreExplained(t *testing.T) {
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	l := &ledger{answers: []answer{{at(1), false}, {at(2), true}, {at(3), false}, {at(5), true}, {at(9), false}}}
	for name, c := range map[string]struct {
		in        []stretch
		all, late int
	}{
		"none":                         {nil, 0, 0},
		"before all":                   {[]stretch{{at(-5), at(0)}}, 0, 0},
		"in the middle":                {[]stretch{{at(2), at(4)}}, 2, 1},
		"twice, and none counts twice": {[]stretch{{at(4), at(6)}, {at(0), at(2)}, {at(1), at(2)}}, 3, 2},
		"until the end":                {[]stretch{{at(4), at(10)}}, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if all, late := l.answered(c.in); all != c.all || late != c.late {
				t.Errorf("got %d, %d of them late, want %d and %d", all, late, c.all, c.late)
			}
		})
	}
}

func TestAnAnswerIsLateWhenTheEventMayHaveWaitedInALane(t *testing.T) {
	l := &ledger{name: "x"}
	for _, c := range []struct {
		survey int
		since  time.Duration
		want   bool
	}{{firstFlap, 0, false}, {firstFlap, 2 * soon, true}, {0, 2 * soon, false}} {
		i := l.next(c.survey)
		l.acked(i, 1)
		l.events[i].acked = time.Now().Add(-c.since)
		l.accept(i)
		if l.answers[i].late != c.want {
			t.Errorf("survey %d, %s after its acknowledgement: late is %v", c.survey, c.since, !c.want)
		}
	}
}
