package audit

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/deliverylog"
)

func TestJudge(t *testing.T) {
	at := edges{floor: 100, old: 10}
	for name, c := range map[string]struct {
		e    evidence
		seq  uint64
		want Fate
	}{
		"an attempt was accepted":                       {stored | delivered, 50, Delivered},
		"accepted, and it has left the stream":          {delivered, 50, Delivered},
		"accepted, and older than the log begins":       {stored | delivered, 5, Delivered},
		"accepted, and its copy is not yet removed":     {stored | delivered | lane, 50, Delivered},
		"accepted, not yet acknowledged":                {stored | delivered, 101, Delivered},
		"waits in its lane":                             {stored | lane, 50, WaitingLane},
		"waits in its lane alone":                       {lane, 50, WaitingLane},
		"waits in its lane since before the log":        {lane, 5, WaitingLane},
		"redriven, its letter not yet removed":          {stored | lane | letter | buried, 50, WaitingLane},
		"redriven, and parked again":                    {stored | lane | buried, 50, WaitingLane},
		"a dead letter":                                 {stored | letter | buried, 50, DeadLetter},
		"a dead letter of which the log knows nothing":  {letter, 50, DeadLetter},
		"not given to anybody yet":                      {stored, 101, WaitingLive},
		"not given to anybody yet, and it will be owed": {stored | promised, 101, WaitingLive},
		"left the stream before anybody was given it":   {0, 101, Lost},
		"owed":                                                      {stored | promised, 50, Owed},
		"owed, and it has left the stream":                          {0, 50, Lost},
		"no webhook":                                                {stored | unowed, 50, NoWebhook},
		"no webhook, and it has left the stream":                    {unowed, 50, NoWebhook},
		"its letter was purged":                                     {stored | buried, 50, LetterRemoved},
		"erased":                                                    {forgotten, 50, Forgotten},
		"a dead letter that was erased":                             {forgotten | buried, 50, Forgotten},
		"erased, and it came back":                                  {forgotten | lane, 50, WaitingLane},
		"somebody else's":                                           {stored | foreign, 50, NotOurs},
		"somebody else's, not yet passed by":                        {stored | foreign, 101, NotOurs},
		"older than the log":                                        {stored, 10, TooOld},
		"older than the log, and it has left the stream":            {0, 10, TooOld},
		"settled, and nothing tells how":                            {stored, 11, Unproven},
		"settled at the floor, and nothing tells how":               {stored, 100, Unproven},
		"it has left the stream, and nothing tells how it ended":    {0, 11, Lost},
		"promised, but not in the stream: a promise brings nothing": {promised, 50, Lost},
	} {
		if got := judge(c.e, c.seq, at); got != c.want {
			t.Errorf("%s: judged %s, want %s", name, got, c.want)
		}
	}
}

func TestFatesAddUpToTheRange(t *testing.T) {
	l := newLedger(deliverylog.Run{From: 5, To: 1004})
	for range 3000 {
		l.note(rand.Uint64N(1200), evidence(1)<<rand.IntN(9)) //nolint:gosec // no secret
	}
	counts, runs := l.close(edges{floor: 900, old: 100})
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	if sum != 1000 {
		t.Errorf("the fates add up to %d sequences, the range has 1000", sum)
	}
	for _, f := range []Fate{Unproven, Lost} {
		n := uint64(0)
		for _, r := range runs[f] {
			n += r.Len()
		}
		if n != counts[f] {
			t.Errorf("the runs of %s hold %d sequences, %d were counted", f, n, counts[f])
		}
	}
}

func TestRunsOutsideTheRangeCostNothing(t *testing.T) {
	l := newLedger(deliverylog.Run{From: 10, To: 19})
	l.noteRuns([]deliverylog.Run{{From: 1, To: 1 << 62}}, delivered)
	l.noteRuns([]deliverylog.Run{{From: 1, To: 9}, {From: 20, To: 30}}, delivered)
	if counts, _ := l.close(edges{}); counts[Delivered] != 10 || l.recorded != 10 {
		t.Errorf("%d of 10 are delivered, the lowest recorded is %d, want 10", counts[Delivered], l.recorded)
	}
}

func TestRunsAreBoundedAndCountsAreNot(t *testing.T) {
	l := newLedger(deliverylog.Run{From: 1, To: 5000})
	for seq := uint64(1); seq <= 5000; seq += 2 {
		l.note(seq, delivered)
	}
	counts, runs := l.close(edges{})
	if counts[Lost] != 2500 || len(runs[Lost]) != maxRuns {
		t.Errorf("%d lost in %d runs, want 2500 in %d", counts[Lost], len(runs[Lost]), maxRuns)
	}
}

func TestACountedLossExplainsAsManyAsItCounts(t *testing.T) {
	record := func(from, to, n uint64) deliverylog.Record {
		return deliverylog.Record{Kind: deliverylog.KindDropped, Runs: []deliverylog.Run{{From: from, To: to}}, Records: n, At: time.Unix(int64(n), 0)} //nolint:gosec // small
	}
	for name, c := range map[string]struct {
		drops    []deliverylog.Record
		unproven []uint64
		left     []uint64 // the event stream, and nothing tells how they ended
		want     uint64   // not explained, of the unproven
	}{
		"none":                                {nil, []uint64{3}, nil, 1},
		"one for one":                         {[]deliverylog.Record{record(3, 3, 1)}, []uint64{3}, nil, 0},
		"elsewhere":                           {[]deliverylog.Record{record(4, 9, 6)}, []uint64{3, 10}, nil, 2},
		"too few":                             {[]deliverylog.Record{record(1, 9, 2)}, []uint64{3, 5, 7}, nil, 1},
		"those that end first are used first": {[]deliverylog.Record{record(1, 9, 1), record(1, 4, 1)}, []uint64{3, 7}, nil, 0},
		"used up, and another begins":         {[]deliverylog.Record{record(1, 9, 1), record(5, 6, 1)}, []uint64{2, 5, 6}, nil, 1},
		"a long one behind many short ones":   {[]deliverylog.Record{record(1, 1, 1), record(2, 2, 1), record(1, 9, 2)}, []uint64{1, 2, 3, 9}, nil, 0},
		"told twice counts once":              {[]deliverylog.Record{record(1, 9, 1), record(1, 9, 1)}, []uint64{2, 3}, nil, 1},
		"what has left stays lost":            {[]deliverylog.Record{record(1, 10, 10)}, nil, []uint64{1, 4, 10}, 0},
		"what has left uses none up":          {[]deliverylog.Record{record(1, 9, 1)}, []uint64{5}, []uint64{4}, 0},
	} {
		l := newLedger(deliverylog.Run{From: 1, To: 10})
		for seq := uint64(1); seq <= 10; seq++ {
			switch {
			case slices.Contains(c.left, seq):
			case slices.Contains(c.unproven, seq):
				l.note(seq, stored)
			default:
				l.note(seq, stored|delivered)
			}
		}
		for _, d := range c.drops {
			l.lostRecords(d)
		}
		counts, _ := l.close(edges{floor: 10})
		if counts[Unproven] != c.want || counts[RecordDropped] != uint64(len(c.unproven))-c.want {
			t.Errorf("%s: %d unproven and %d explained of %d, want %d unproven", name, counts[Unproven], counts[RecordDropped], len(c.unproven), c.want)
		}
		if counts[Lost] != uint64(len(c.left)) {
			t.Errorf("%s: %d are lost, want the %d that have left the event stream", name, counts[Lost], len(c.left))
		}
	}
}
