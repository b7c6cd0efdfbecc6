package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/term"
)

// isTerminal says whether something written to is read by a person right away.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour says whether output may be coloured: https://no-color.org.
func (w *world) colour() bool { return isTerminal(w.out) && w.env("NO_COLOR") == "" }

func (w *world) printf(format string, args ...any) { fmt.Fprintf(w.out, format, args...) }

// printJSON writes one value as one line.
func (w *world) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	_, err = fmt.Fprintln(w.out, string(b))
	return err
}

// newTable returns a table that prints itself to the output, without lines: it
// is read by people and by grep.
func (w *world) newTable(header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w.out)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(header)
	return t
}
