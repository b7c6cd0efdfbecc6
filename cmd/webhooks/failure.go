package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/panics"
)

// fail prints an error for a person and returns its exit code: the only place
// that does either.
func (w *world) fail(err error) exitCode {
	if errors.Is(err, errSilent) {
		return exitFailure
	}
	code := w.codeOf(err)
	p, mistake := errors.AsType[*panics.Panic](err)
	if code == exitInterrupted {
		fmt.Fprintln(w.errw, "interrupted")
		if !mistake {
			return code
		}
	}
	fmt.Fprintf(w.errw, "error: %s\n", harmless(err.Error()))
	if h := cmp.Or(w.refused(err), hintOf(err)); h != "" {
		fmt.Fprintf(w.errw, "hint: %s\n", harmless(h))
	}
	if mistake {
		fmt.Fprintf(w.errw, "hint: this is a mistake of the program's own: please report it with what follows\n%s", p.Stack)
	}
	return code
}

// harmless takes out of a text what a terminal would obey: an error may quote what
// a stranger wrote.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// errSilent fails a command that has already said why.
var errSilent = errors.New("failed, as said above")

// hintOf returns what an error says to do, if it does.
func hintOf(err error) string {
	if hint := config.Hint(err); hint != "" {
		return hint
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return "start the service once, or run: webhooks provision"
	}
	return ""
}

// refused says what NATS did not let the command's user do, where that is why nobody
// answered: whoever may not ask is told so beside the request, which waits until its
// time is over.
func (w *world) refused(err error) string {
	if w.asked == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		return ""
	}
	said := w.asked.LastError()
	switch {
	case !errors.Is(said, nats.ErrPermissionViolation):
		return ""
	case strings.Contains(said.Error(), "Subscription"):
		return "NATS does not let this user hear answers (" + said.Error() + "): set NATS_INBOX_PREFIX as the user has it; with deployments/nats/accounts.conf it is _INBOX_ and the user's name"
	default:
		return "NATS does not let this user ask (" + said.Error() + "): run it as one who may; of deployments/nats/accounts.conf that is operator, and restorer for a restore"
	}
}

// hinted is an error with something to do about it.
type hinted struct {
	error
	hint string
}

func withHint(hint, format string, args ...any) error {
	return hinted{fmt.Errorf(format, args...), hint}
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }
