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
func isTerminal(w io.Writer) bool { return isTerminalFile(w) }

// isTerminalIn says whether what is read is typed by a person right now.
func isTerminalIn(r io.Reader) bool { return isTerminalFile(r) }

func isTerminalFile(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// drawn says whether something written to is a terminal on which a line can be
// drawn anew.
func (w *world) drawn(to io.Writer) bool { return isTerminal(to) && w.env("TERM") != "dumb" }

// colour says whether what is written may be coloured: https://no-color.org.
func (w *world) colour(to io.Writer) bool { return w.drawn(to) && w.env("NO_COLOR") == "" }

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
