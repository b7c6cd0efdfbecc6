package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestWhatWasNotRunFails(t *testing.T) {
	never := []row{{Where: "cluster", Fault: "a node's disk is full", NotRun: errors.New("no rights")}}
	for name, c := range map[string]struct {
		rows    []row
		maySkip bool
		wrong   string // in the error; empty: it is none
	}{
		"all went well":       {[]row{{Where: "cluster", Fault: "purge"}}, false, ""},
		"something was wrong": {[]row{{Where: "cluster", Fault: "purge", check: check{Wrong: []string{"one lost"}}}}, true, "cluster: purge: one lost"},
		"not run":             {never, false, "cluster: a node's disk is full: NOT RUN: no rights"},
		"not run, and it may": {never, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{command: command{MaySkipDisk: c.maySkip}, rows: c.rows}
			got := ""
			if err := errors.Join(s.failures()...); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.wrong) || (got == "") != (c.wrong == "") {
				t.Errorf("got %q, want %q", got, c.wrong)
			}
		})
	}
}

func TestAFaultThatDoesNotExistIsAnError(t *testing.T) {
	err := command{Kills: 50, Only: []string{"kil -9"}}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `no fault has a name that holds one of ["kil -9"]`) {
		t.Errorf("got %v", err)
	}
}

func TestTheDiskIsLeftOutByFlagOrEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env  string
		args []string
		want bool
	}{
		"neither":     {"", nil, false},
		"flag":        {"", []string{"--may-skip-disk"}, true},
		"environment": {"true", nil, true},
		"not so":      {"false", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv(maySkipDisk, c.env)
			}
			var got command
			parser, err := kong.New(&got)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			if got.MaySkipDisk != c.want {
				t.Errorf("got %v, want %v", got.MaySkipDisk, c.want)
			}
		})
	}
}
