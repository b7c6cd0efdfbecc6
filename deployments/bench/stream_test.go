package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTheStreamBenchmarkInShort(t *testing.T) {
	c := streamCommand{
		Rounds: 1, Copies: []int{1, 3}, Sync: []string{always}, Batch: []int{1, 20}, Singles: 16, Batches: 2, Surveys: 10, Warm: 100 * time.Millisecond, Measure: 500 * time.Millisecond,
	}
	all, err := c.rounds(t.Context(), built(t))
	if err != nil {
		t.Fatal(err)
	}
	text := c.text(all)
	for i, k := range []streamKind{{1, always, 1}, {1, always, 20}, {3, always, 1}, {3, always, 20}} {
		if i >= len(all) || all[i].streamKind != k {
			t.Fatalf("turn %d was not of %s:\n%s", i, k, text)
		}
		f := all[i]
		if f.Missing > 0 || f.Alone.Published <= 0 || f.Alone.Consumed != 0 || f.Alone.CPU <= 0 || f.Beside.Published <= 0 || f.Beside.Consumed <= 0 {
			t.Errorf("%s; want all of them stored, and figures", f.brief())
		}
		if row := fmt.Sprintf("\n| %d | %s | %d | ", k.Copies, k.Sync, k.Batch); !strings.Contains(text, row) {
			t.Errorf("the report has no row %q:\n%s", row, text)
		}
	}
	t.Log("\n" + text)
}

func TestAStreamThatTakesTooLittleIsNamed(t *testing.T) {
	turn := func(copies int, sync string, batch int, published float64, missing int) streamFigures {
		return streamFigures{streamKind: streamKind{copies, sync, batch}, Beside: streamRate{Published: published}, Missing: missing}
	}
	for name, c := range map[string]struct {
		all  []streamFigures
		want string
	}{
		"the better way counts":     {[]streamFigures{turn(3, always, 1, 9000, 0), turn(3, always, 100, deploymentMax, 0)}, ""},
		"it takes too little":       {[]streamFigures{turn(3, always, 1, 900, 0), turn(3, always, 100, 9000, 0)}, "events/s that three synced copies take while they are consumed: 9000, at least 10000 is asked: NOT met"},
		"medians count":             {[]streamFigures{turn(3, always, 1, 1, 0), turn(3, always, 1, 10_000, 0), turn(3, always, 1, 20_000, 0)}, ""},
		"one copy is not asked":     {[]streamFigures{turn(1, always, 1, 10, 0)}, ""},
		"nor is what is not synced": {[]streamFigures{turn(3, "2m", 1, 10, 0)}, ""},
		"an event is missing":       {[]streamFigures{turn(1, "2m", 1, 10, 2)}, "acknowledged events that are not in the stream: 2.00, at most 0.00 is asked: NOT met"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := unmet(streamAsked(c.all)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
