package main

import (
	"strings"
	"testing"
)

// TestDeadLettersAreNamed: of events that no endpoint was to lose, and of events that
// nobody published.
func TestDeadLettersAreNamed(t *testing.T) {
	d := &deployment{ledger: &ledger{name: "x"}}
	i := d.ledger.next(firstFlap)
	d.ledger.acked(i, 1)
	w := whereabouts{dead: map[int]string{i: "gave-up: 5xx"}, stray: []string{`"" (panic, sequence 7 of RESPONSES)`}}
	c := &check{Verdict: judge(d.ledger.known(d.ledger.lastAck()), w, nil)}
	d.complainOfDead(c, w)
	got := strings.Join(c.Wrong, "\n")
	for _, want := range []string{"1 events were given up on", "gave-up: 5xx", "x-0 (s100, sequence 1", "1 dead letters of events that nobody published", "panic, sequence 7"} {
		if !strings.Contains(got, want) {
			t.Errorf("complains of %q, which does not say %q", got, want)
		}
	}
}
