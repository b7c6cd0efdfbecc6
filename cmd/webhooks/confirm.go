package main

import (
	"bufio"
	"fmt"
	"strings"
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
	answered := make(chan string, 1)
	go func() { // it outlives a question that is interrupted: nothing ends a read of a terminal
		answer, _ := bufio.NewReader(w.in).ReadString('\n') // an end without a line is no yes
		answered <- strings.TrimSpace(answer)
	}()
	select {
	case answer := <-answered:
		if answer == "yes" {
			return nil
		}
	case <-w.ctx.Done():
		fmt.Fprintln(w.errw)
	}
	return withHint("nothing was changed", "not confirmed")
}
