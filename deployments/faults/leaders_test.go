package main

import (
	"slices"
	"testing"
	"time"
)

func TestNobodyLeadsWhereNobodyAnswersOrAnotherOneDoes(t *testing.T) {
	began := time.Now()
	at := func(tenths int) time.Time { return began.Add(time.Duration(tenths) * lookEvery) }
	looks := func(leader string, from, to int) (all []look) {
		for i := from; i < to; i++ {
			all = append(all, look{at(i), at(i), leader})
		}
		return all
	}
	for name, c := range map[string]struct {
		looks []look
		want  []stretch
	}{
		"one leads all the time":             {looks("a", 0, 100), nil},
		"one does not answer for a moment":   {append(looks("a", 0, 50), looks("a", 53, 100)...), nil},
		"one stands still":                   {append(looks("a", 0, 50), looks("a", 70, 100)...), []stretch{{at(49), at(70)}}},
		"another one at once":                {append(looks("a", 0, 50), looks("b", 50, 100)...), []stretch{{at(49), at(50)}}},
		"another one after a while":          {append(looks("a", 0, 50), looks("b", 90, 100)...), []stretch{{at(49), at(90)}}},
		"one and another and the first":      {slices.Concat(looks("a", 0, 50), looks("b", 50, 51), looks("a", 51, 100)), []stretch{{at(49), at(51)}}},
		"nobody from the beginning":          {looks("a", 20, 100), []stretch{{at(0), at(20)}}},
		"nobody until the end":               {looks("a", 0, 50), []stretch{{at(49), at(100)}}},
		"nobody ever":                        {nil, []stretch{{at(0), at(100)}}},
		"a server alone, which has no name":  {append(looks("", 0, 50), looks("", 70, 100)...), []stretch{{at(49), at(70)}}},
		"an answer that was long on its way": {slices.Concat(looks("a", 0, 50), []look{{at(50), at(59), "a"}}, looks("a", 60, 100)), []stretch{{at(49), at(59)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := leaderless(c.looks, stretch{at(0), at(100)}, lookMissing)
			if !slices.EqualFunc(got, c.want, func(a, b stretch) bool { return a.from.Equal(b.from) && a.to.Equal(b.to) }) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhoWaitsForAnElectionIsGivenItsTime(t *testing.T) {
	began := time.Now().Add(-time.Minute)
	at := func(tenths int) time.Time { return began.Add(time.Duration(tenths) * lookEvery) }
	var looks []look
	for i := range 600 {
		if i <= 100 || i >= 220 {
			looks = append(looks, look{at(i), at(i), "a"})
		}
	}
	b := breaking{consumer: &watch{began: began, looks: looks}}
	for since, want := range map[int]time.Duration{0: 12 * time.Second, 200: 2 * time.Second, 400: 0} {
		if got := b.headless(at(since)); got != want {
			t.Errorf("since %s nobody leads for %s, want %s", at(since).Sub(began), got, want)
		}
	}
	if got := new(breaking).headless(began); got != 0 {
		t.Errorf("where no node is broken: %s", got)
	}
}
