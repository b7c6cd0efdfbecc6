package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// The exit codes that a process may end with that was told to end; nats-server knows
// the first alone. 2, with which a panic ends a process, is never right.
const (
	endedOK          = 0
	endedFailure     = 1 // where NATS keeps nothing any more: something could not be finished,
	endedUnreachable = 3 // or NATS did not answer
)

// ended complains of a process that was told to end and did so otherwise than it should.
func (s *suite) ended(name string, p *process.Process, codes ...int) {
	if err := endedWith(p.Err(), codes...); err != nil {
		s.breaking.complain(fmt.Sprintf("%s was told to end: %v; the end of its log: %s", name, err, p.LastWords()))
	}
}

// endedWith is an error when a process ended with none of some exit codes.
func endedWith(err error, codes ...int) error {
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode() // -1: a signal ended it
	} else if err != nil {
		return fmt.Errorf("how it ended is not known: %w", err)
	}
	if slices.Contains(codes, code) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("exit status 0, want one of %v", codes)
	}
	return fmt.Errorf("%w, want exit status %v", err, codes)
}
