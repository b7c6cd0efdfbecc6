package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTheReplicasBenchmarkInShort(t *testing.T) {
	bin := built(t)
	c := replicasCommand{
		Replicas: []int{1, 2}, InFlight: 4, Latency: 20 * time.Millisecond, Lasts: time.Second, Load: 0.5, Surveys: 100,
		Warm: 500 * time.Millisecond, Measure: time.Second, Grace: 10 * time.Second, Rounds: 1, Sync: "2m",
	}
	all, err := c.rounds(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("there were %d turns, want one of each size", len(all))
	}
	for i, f := range all {
		sum := 0.0
		for _, s := range f.Shares {
			sum += s
		}
		if f.Replicas != i+1 || len(f.Shares) != f.Replicas || math.Abs(sum-1) > 1e-9 {
			t.Errorf("turn %d was of %d replicas with the shares %v, want one of each, all of the backlog together", i, f.Replicas, f.Shares)
		}
		if f.Missing+f.Duplicates > 0 || f.Rate <= 0 || f.P99 <= 0 {
			t.Errorf("%d replicas: %d events are missing, %d duplicates, %.0f/s, p99 %.2f ms; want all of them once, and figures", f.Replicas, f.Missing, f.Duplicates, f.Rate, f.P99)
		}
		if most := c.most(f.Replicas); f.Rate > 1.2*most {
			t.Errorf("%d replicas delivered %.0f/s, but cannot have delivered more than %.0f: the endpoints did not take their time", f.Replicas, f.Rate, most)
		}
	}
	text := c.text(all)
	if !strings.Contains(text, "\n| 2 | ") || !strings.Contains(text, "events/s of 2 replicas, of 2/1 of those of 1") {
		t.Errorf("the report has no row of 2 replicas, or no verdict:\n%s", text)
	}
	t.Log("\n" + text)
}

func TestReplicasThatDoNotAddUpAreNamed(t *testing.T) {
	turn := func(replicas int, rate float64) fleetFigures {
		return fleetFigures{Replicas: replicas, Rate: rate, Shares: make([]float64, replicas)}
	}
	duplicate, parked := turn(1, 100), turn(1, 100)
	duplicate.Duplicates, parked.Aside = 1, 2
	for name, c := range map[string]struct {
		all  []fleetFigures
		want string
	}{
		"a tenth of each doubling is allowed": {[]fleetFigures{turn(1, 100), turn(2, 181), turn(4, 327)}, ""},
		"more is not":                         {[]fleetFigures{turn(1, 100), turn(2, 200), turn(4, 350)}, "events/s of 4 replicas, of 4/2 of those of 2: 0.88, at least 0.90 is asked: NOT met"},
		"medians count":                       {[]fleetFigures{turn(1, 100), turn(2, 100), turn(1, 100), turn(2, 200), turn(1, 100), turn(2, 200)}, ""},
		"an event came twice":                 {[]fleetFigures{duplicate}, "duplicates: 1.00, at most 0.00 is asked: NOT met"},
		"a lane was used":                     {[]fleetFigures{parked}, "events that went another way than from the live consumer to a 2xx: 2.00, at most 0.00 is asked: NOT met"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := unmet(fleetAsked(c.all)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
