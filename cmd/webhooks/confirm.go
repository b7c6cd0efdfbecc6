package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm asks a person before something that cannot be undone. Where nobody can be
// asked, it has to be said on the command line.
func (w *world) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	f, isFile := w.in.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return usage{withHint("see first what it would be with --dry-run; then say --yes", "%s; nobody can be asked here whether that is meant", what)}
	}
	fmt.Fprintf(w.errw, "%s. It cannot be undone. Type yes to go on: ", what)
	answer, err := bufio.NewReader(f).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return withHint("nothing was changed", "not confirmed")
	}
	return nil
}
