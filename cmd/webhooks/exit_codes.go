package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/backup"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/events"
)

// exitCode is how the program ended, a promise to scripts.
type exitCode int

// The exit codes. They are listed in --help and in the README.
const (
	exitOK          exitCode = 0
	exitFailure     exitCode = 1
	exitUsage       exitCode = 2
	exitUnreachable exitCode = 3
	exitConflict    exitCode = 4
	exitAlarm       exitCode = 5
	exitUnproven    exitCode = 6
	exitInterrupted exitCode = 130 // what shells say of a program that SIGINT ended
)

// exitCodes are all there are, in order.
func exitCodes() []exitCode {
	return []exitCode{exitOK, exitFailure, exitUsage, exitUnreachable, exitConflict, exitAlarm, exitUnproven, exitInterrupted}
}

// String is what a code means, as --help and the README have it.
func (c exitCode) String() string {
	switch c {
	case exitOK:
		return "done"
	case exitFailure:
		return "failed: what was asked could not be done, or what was examined is not well"
	case exitUsage:
		return "the command line, a setting, a file or an event is not valid"
	case exitUnreachable:
		return "NATS could not be reached, or did not answer in time"
	case exitConflict:
		return "somebody else changed it first, or what exists on NATS is set up otherwise"
	case exitAlarm:
		return "an alarm stands: nothing is delivered until a person decides"
	case exitUnproven:
		return "an audit found events that nothing accounts for, or was asked for older ones than the delivery log knows of"
	case exitInterrupted:
		return "interrupted before it was done"
	default:
		return fmt.Sprintf("exit code %d", int(c))
	}
}

// exitWords list the codes for --help.
func exitWords() string {
	var s strings.Builder
	s.WriteString("Exit codes:\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&s, "\n  %3d  %s", int(c), c)
	}
	return s.String()
}

// codeOf is the exit code of an error.
func (w *world) codeOf(err error) exitCode {
	switch {
	case errors.As(err, new(*mark.Alarm)):
		return exitAlarm
	case errors.Is(err, errUnproven):
		return exitUnproven
	case errors.As(err, new(*provision.Unfit)), errors.As(err, new(*backup.Occupied)), errors.Is(err, config.ErrConflict):
		return exitConflict
	case errors.As(err, new(*bus.Unreachable)), errors.Is(err, context.DeadlineExceeded):
		return exitUnreachable
	case errors.As(err, new(usage)), errors.As(err, new(*events.BadEvent)), errors.Is(err, config.ErrInvalidEndpoint):
		return exitUsage
	case w.interrupted(err):
		return exitInterrupted
	default:
		return exitFailure
	}
}

// interrupted says whether an error is that of the context: a signal's, or whoever
// called run.
func (w *world) interrupted(err error) bool {
	return w.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(w.ctx)))
}
