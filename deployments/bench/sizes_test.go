package main

import (
	"net/http"
	"strings"
	"testing"
)

// builtPrograms are built for one test, which runs them for seconds and asks nothing of
// times: CI machines have none to spare.
func builtPrograms(t *testing.T) string {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	bin := t.TempDir()
	if err := build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestTheParkingBenchmarkInShort(t *testing.T) {
	c := parkingCommand{Rounds: 1, Events: 2000, Lanes: 16, Sync: []string{"2m"}}
	all, err := c.rounds(t.Context(), builtPrograms(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("there were %d rounds, want one", len(all))
	}
	for _, r := range all {
		if r.Live.Missing+r.Missing+r.Duplicates > 0 || r.Parked <= 0 || r.Drained <= 0 {
			t.Errorf("sync %s: %d live events missing, %d parked ones, %d more than once; parked %.0f/s, drained %.0f/s",
				r.Sync, r.Live.Missing, r.Missing, r.Duplicates, r.Parked, r.Drained)
		}
	}
	t.Log("\n" + c.text(all))
}

func TestTheEndpointsBenchmarkInShort(t *testing.T) {
	c := endpointsCommand{Rounds: 1, Events: 2000, Configured: []int{1, 5000}, Sync: "2m"}
	all, err := c.rounds(t.Context(), builtPrograms(t))
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, all, c.Configured)
	t.Log("\n" + c.text(all))
}

func TestTheHistoryBenchmarkInShort(t *testing.T) {
	c := historyCommand{Rounds: 2, Events: 2000, Surveys: 10, Stored: []int{10, 20_000}, Sync: "2m"}
	all, err := c.rounds(t.Context(), builtPrograms(t))
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, all, []int{10, 20_000, 10, 20_000})
	t.Log("\n" + c.text(all))
}

// wantAll wants every event of every turn delivered.
func wantAll(t *testing.T, all []sized, sizes []int) {
	t.Helper()
	if len(all) != len(sizes) {
		t.Fatalf("there were %d turns, want %d", len(all), len(sizes))
	}
	for i, s := range all {
		if s.Size != sizes[i] || s.Missing+s.Duplicates > 0 || s.Rate <= 0 {
			t.Errorf("turn %d with %d: %d events missing, %d more than once, %.0f/s; want all of them, with %d", i, s.Size, s.Missing, s.Duplicates, s.Rate, sizes[i])
		}
	}
}

func TestRatesThatAreApartAreNamed(t *testing.T) {
	one := func(size int, rate float64, missing int) sized {
		return sized{size, turn{Rate: rate, Missing: missing}}
	}
	for name, c := range map[string]struct {
		all  []sized
		want string
	}{
		"a tenth is allowed":    {[]sized{one(1, 100, 0), one(9, 91, 0)}, ""},
		"more is not":           {[]sized{one(1, 100, 0), one(9, 89, 0)}, "9 endpoints: 0.89 of the rate with 1, at least 0.90 is asked"},
		"the small may be slow": {[]sized{one(1, 50, 0), one(9, 100, 0)}, "1 endpoints: 0.50 of the rate with 9, at least 0.90 is asked"},
		"medians count":         {[]sized{one(1, 100, 0), one(9, 50, 0), one(1, 100, 0), one(9, 99, 0), one(1, 100, 0), one(9, 98, 0)}, ""},
		"events are missing":    {[]sized{one(1, 100, 2)}, "1 endpoints: 2 events missing"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := apart(c.all, "endpoints"); err != nil {
				got = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheParkingVerdictAsksOfUnsyncedRoundsAlone(t *testing.T) {
	round := func(sync string, parked, drained float64, missing int) parkingRound {
		return parkingRound{Sync: sync, Live: turn{Rate: 100}, Parked: parked, Drained: drained, Missing: missing}
	}
	for name, c := range map[string]struct {
		r    parkingRound
		want string
	}{
		"half is enough":  {round("2m", 50, 50, 0), ""},
		"slowly parked":   {round("2m", 49, 50, 0), "parked at 0.49 of the live rate, at least 0.50 is asked"},
		"slowly drained":  {round("2m", 50, 49, 0), "drained at 0.49 of the live rate, at least 0.50 is asked"},
		"the disk is not": {round(always, 1, 1, 0), ""},
		"missing anyhow":  {round(always, 1, 1, 3), "sync always: 3 parked events were not delivered, 0 live ones"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := (&parkingCommand{}).verdict([]parkingRound{c.r}); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
