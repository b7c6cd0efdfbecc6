package main

import (
	"testing"
	"time"
)

func TestWhatAFaultMayRepeatLaterCameOfLanesAndLapses(t *testing.T) {
	for name, c := range map[string]struct {
		before leftovers
		again  int
		made   bound
		want   leftovers
	}{
		"nothing came again":               {leftovers{}, 0, bound{100, 10}, leftovers{0, 10}},
		"some did, and lanes had the most": {leftovers{}, 95, bound{100, 10}, leftovers{0, 5}},
		"what came was older":              {leftovers{3, 4}, 7, bound{10, 10}, leftovers{0, 10}},
		"some was this one's":              {leftovers{3, 4}, 9, bound{10, 10}, leftovers{0, 8}},
		"the oldest is used up first":      {leftovers{3, 4}, 5, bound{10, 10}, leftovers{2, 10}},
		"the oldest lapses":                {leftovers{100, 4}, 0, bound{3, 3}, leftovers{4, 3}},
		"more came than may":               {leftovers{1, 1}, 20, bound{10, 10}, leftovers{}},
		"of no lane":                       {leftovers{}, 0, bound{9150, 0}, leftovers{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.before.after(c.again, c.made); got != c.want {
				t.Errorf("got %v left, want %v", got, c.want)
			}
		})
	}
}

func TestOnlyAnswersOfItsTimeAreExplained(t *testing.T) {
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	l := &ledger{answers: []answer{{at(1), false}, {at(2), true}, {at(3), false}, {at(5), true}, {at(9), false}}}
	for name, c := range map[string]struct {
		in   []stretch
		want bound
	}{
		"none":                         {nil, bound{}},
		"before all":                   {[]stretch{{at(-5), at(0)}}, bound{}},
		"in the middle":                {[]stretch{{at(2), at(4)}}, bound{2, 1}},
		"twice, and none counts twice": {[]stretch{{at(4), at(6)}, {at(0), at(2)}, {at(1), at(2)}}, bound{3, 2}},
		"until the end":                {[]stretch{{at(4), at(10)}}, bound{2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := l.answered(c.in); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAnAnswerIsLateWhenTheEventHasWaited(t *testing.T) {
	l := &ledger{name: "x"}
	for _, since := range []time.Duration{0, 2 * soon} {
		i := l.next(0)
		l.acked(i, uint64(i)+1)
		l.events[i].acked = time.Now().Add(-since)
		if err := l.accept(l.id(i)); err != nil {
			t.Fatal(err)
		}
	}
	if l.answers[0].late || !l.answers[1].late {
		t.Errorf("got %+v, want the second alone late", l.answers)
	}
}
