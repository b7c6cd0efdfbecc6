package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/popsee/webhooks/delivery/panics"
)

// confirm asks a person before something that cannot be undone. Where nobody can be
// asked, it has to be said on the command line.
func (w *world) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if !isTerminalIn(w.in) {
		return usage{withHint("see first what it would be with --dry-run; then say --yes", "%s; nobody can be asked here whether that is meant", what)}
	}
	fmt.Fprintf(w.errw, "%s. It cannot be undone. Type yes to go on: ", what)
	select {
	case err := <-typedYes(w.in):
		return err
	case <-w.ctx.Done():
		fmt.Fprintln(w.errw)
		return notConfirmed()
	}
}

// typedYes gives nil when a person types yes. Its goroutine outlives a question that is
// interrupted: nothing ends a read of a terminal.
func typedYes(in io.Reader) <-chan error {
	answer := make(chan error, 1)
	go func() {
		var unheard *panics.Guard // whoever asked hears of it, as of any error
		answer <- unheard.Try(panics.PlaceRun, func() error {
			line, _ := bufio.NewReader(in).ReadString('\n') // an end without a line is no yes
			if strings.TrimSpace(line) != "yes" {
				return notConfirmed()
			}
			return nil
		})
	}()
	return answer
}

func notConfirmed() error { return withHint("nothing was changed", "not confirmed") }
