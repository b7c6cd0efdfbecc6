package main

import (
	"fmt"
	"strings"
	"time"
)

// row is one fault and what came of it.
type row struct {
	check

	Where, Fault string
	Times        int           // how often it came
	Broken       time.Duration // how long things were broken
	Published    int           // events acknowledged meanwhile, the check included
	NotRun       error         // why it did not come at all
}

// markdown writes the table down.
func markdown(rows []row, seed int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d.\n\n| on | fault | times | events (a second) | lost | taken by design | duplicates (bound) | worst gap s | quorum s | resumed s | settled s | wait, owed, dead |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n", seed)
	for _, r := range rows {
		if r.NotRun != nil {
			fmt.Fprintf(&b, "| %s | %s | NOT RUN: %v | | | | | | | | | |\n", r.Where, r.Fault, r.NotRun)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d (%.0f) | %d | %d | %d (%d) | %.1f | %.1f | %.1f | %.1f | %d, %d, %d |\n", r.Where, r.Fault, r.Times, r.Published, r.Rate,
			len(r.Verdict.Lost), r.Verdict.Taken, r.Again, r.Allowed, r.Gap.Seconds(), r.Quorum.Seconds(), r.Resumed.Seconds(), r.Settled.Seconds(),
			r.Verdict.Waiting, r.Verdict.Owed, r.Verdict.Dead)
	}
	return b.String()
}
