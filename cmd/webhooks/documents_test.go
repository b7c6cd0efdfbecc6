package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// inline is a command in a sentence or a table of a page.
var inline = regexp.MustCompile("`(?:[A-Z_]+=\\S+ )*webhooks ([a-z][^`]*)`")

// TestTheCommandsThatDocumentsNameParse reads every command that a sentence or a
// table of a page names. The fenced ones are run, by deployments/documents.
func TestTheCommandsThatDocumentsNameParse(t *testing.T) {
	found, parser := 0, newParser(t) // one for all: making it takes longer than what it reads
	look := func(page string) {
		text, err := os.ReadFile(page)
		must(t, err)
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			found++
			checkNamed(t, parser, page, m[1])
		}
	}
	for _, page := range []string{"../../README.md", "../../CHANGELOG.md"} {
		look(page)
	}
	must(t, filepath.WalkDir("../../deployments", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".md") {
			look(path)
		}
		return err
	}))
	if found < 50 {
		t.Errorf("only %d commands were found", found)
	}
}

// abbreviated is how a page names several commands at once, or leaves out what does
// not matter there.
var abbreviated = regexp.MustCompile(`[|…]|<[a-z ]+>`)

// checkNamed parses a command; of one that names no arguments the words must be
// those of a command.
func checkNamed(t *testing.T, parser *kong.Kong, page, line string) {
	t.Helper()
	line = abbreviated.ReplaceAllStringFunc(line, func(s string) string {
		if s == "|" {
			return s
		}
		return "1"
	})
	if strings.Contains(line, "|") {
		for _, one := range alternatives(line) {
			checkWords(t, parser, page, one)
		}
		return
	}
	if _, err := parser.Parse(words(t, line)); err != nil && !strings.Contains(err.Error(), "missing") && !strings.Contains(err.Error(), "expected") {
		t.Errorf("%s: `webhooks %s`: %v", page, line, err)
	}
	checkWords(t, parser, page, line)
}

// alternatives spells out "keys list|show".
func alternatives(line string) (all []string) {
	before := ""
	for word := range strings.FieldsSeq(line) {
		if strings.Contains(word, "|") {
			for one := range strings.SplitSeq(word, "|") {
				all = append(all, before+one)
			}
			return all
		}
		before += word + " "
	}
	return nil
}

// checkWords looks for the command that a line begins with.
func checkWords(t *testing.T, parser *kong.Kong, page, line string) {
	t.Helper()
	node := parser.Model.Node
	for word := range strings.FieldsSeq(line) {
		if len(node.Children) == 0 {
			return
		}
		known := false
		for _, child := range node.Children {
			if child.Name == word {
				node, known = child, true
				break
			}
		}
		if !known {
			t.Errorf("%s: `webhooks %s`: there is no command %q", page, line, word)
			return
		}
	}
}
