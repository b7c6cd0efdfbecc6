package main

import (
	"strings"
	"testing"

	"github.com/popsee/webhooks/deployments/internal/process"
)

func TestAProcessMustEndAsItWasTold(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		codes  []int
		wrong  string // in the complaint; empty: there is none
	}{
		"done":                        {"exit 0", []int{endedOK}, ""},
		"a panic":                     {"echo 'panic: oh' >&2; exit 2", []int{endedOK, endedFailure, endedUnreachable}, "panic: oh"},
		"a failure":                   {"exit 1", []int{endedOK}, "exit status 1"},
		"a failure that may be":       {"exit 1", []int{endedOK, endedFailure}, ""},
		"done, but it had to fail":    {"exit 0", []int{endedFailure}, "exit status 0"},
		"killed, whoever may have it": {"kill -9 $$", []int{endedOK, endedFailure}, "signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := process.Start(t.TempDir(), "one", "/bin/sh", nil, "-c", c.script)
			if err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			s := &suite{deployment: &deployment{}}
			s.ended("one", p, c.codes...)
			got := strings.Join(s.breaking.wrong, "\n")
			if !strings.Contains(got, c.wrong) || (got == "") != (c.wrong == "") {
				t.Errorf("complains of %q, want %q", got, c.wrong)
			}
		})
	}
}
