package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/popsee/webhooks/config"
)

func newParser(t *testing.T) *kong.Kong {
	t.Helper()
	return newParserInto(t, &commands{})
}

// newParserInto reads command lines into c.
func newParserInto(t *testing.T, c *commands) *kong.Kong {
	t.Helper()
	parser, err := kong.New(c, append(config.Options(noEnv), kong.Name("webhooks"), kong.Writers(io.Discard, io.Discard))...)
	must(t, err)
	return parser
}

// TestEveryCommandHasExamplesThatParse holds the examples of the help to the
// commands there are, both ways.
func TestEveryCommandHasExamplesThatParse(t *testing.T) {
	known, parser := map[string]bool{}, newParser(t)
	for _, leaf := range parser.Model.Leaves(true) {
		path := pathOf(leaf)
		known[path] = true
		if examples[path] == "" {
			t.Errorf("webhooks %s has no examples", path)
		}
		if leaf.Help == "" {
			t.Errorf("webhooks %s does not say what it does", path)
		}
	}
	for path, text := range examples {
		if !known[path] {
			t.Errorf("there are examples of %q, which is no command", path)
		}
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "   ") // what it does
			_, line, found := strings.Cut(line, "webhooks ")
			if !found {
				continue
			}
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, ")") // of <(…)
			if _, err := parser.Parse(words(t, line)); err != nil {
				t.Errorf("webhooks %s: the example %q: %v", path, line, err)
			}
		}
	}
}

// TestEveryHelpShowsExamples asks every command and every group for its help.
func TestEveryHelpShowsExamples(t *testing.T) {
	var look func(node *kong.Node)
	look = func(node *kong.Node) {
		for _, child := range node.Children {
			look(child)
		}
		if node.Type != kong.CommandNode {
			return
		}
		var out bytes.Buffer
		code := run(t.Context(), append(strings.Fields(pathOf(node)), "--help"), noEnv, strings.NewReader(""), &out, io.Discard)
		_, shown, _ := strings.Cut(out.String(), "\nExamples:\n")
		if code != 0 || !strings.HasPrefix(out.String(), "Usage: webhooks "+pathOf(node)) || !strings.Contains(shown, "webhooks "+pathOf(node)) {
			t.Errorf("webhooks %s --help ends with %d and prints\n%s", pathOf(node), code, out.String())
		}
	}
	look(newParser(t).Model.Node)
}

// words splits a command line as a shell does where nothing but double quotes is
// special.
func words(t *testing.T, line string) []string {
	t.Helper()
	r := csv.NewReader(strings.NewReader(strings.Join(strings.Fields(line), " ")))
	r.Comma = ' '
	found, err := r.Read()
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return found
}
