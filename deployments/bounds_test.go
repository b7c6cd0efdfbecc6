package deployments_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A bound on the page names the constant that is it, with its value, and the test
// that shows it.
var (
	boundConstant = regexp.MustCompile("`([a-z/]+)\\.([A-Za-z]+)` = `([^`]+)`")
	boundTest     = regexp.MustCompile("`([a-z/]+):(Test[A-Za-z0-9]+)`")
)

// Whoever changes a bound, or renames its test, is told what the page says.
func TestEveryBoundIsAsThePageSays(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| what | by | constant | test |\n|---|---|---|---|\n")
	if !found {
		t.Fatal("README.md has no table of what is bounded")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		what := strings.TrimSpace(strings.Split(row, "|")[1])
		constants, tests := boundConstant.FindAllStringSubmatch(row, -1), boundTest.FindAllStringSubmatch(row, -1)
		if len(tests) == 0 {
			t.Errorf("%s: no test shows it", what)
		}
		for _, c := range constants {
			if got, want := value(t, constantOf(t, c[1], c[2])), value(t, c[3]); got != want {
				t.Errorf("%s: %s.%s is %s, and the page says %s", what, c[1], c[2], got, want)
			}
		}
		for _, test := range tests {
			if !strings.Contains(testsOf(t, test[1]), "func "+test[2]+"(") {
				t.Errorf("%s: there is no test %s in %s", what, test[2], test[1])
			}
		}
	}
}

// value is what a constant expression comes to.
func value(t *testing.T, expression string) string {
	t.Helper()
	for unit, d := range map[string]time.Duration{"time.Hour": time.Hour, "time.Minute": time.Minute, "time.Second": time.Second, "time.Millisecond": time.Millisecond} {
		expression = strings.ReplaceAll(expression, unit, fmt.Sprint(int64(d)))
	}
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, expression)
	if err != nil || v.Value == nil {
		t.Fatalf("%q is no constant: %v", expression, err)
	}
	return v.Value.ExactString()
}

// constantOf is what a package's constant is written as.
func constantOf(t *testing.T, pkg, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(pkg), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		written := ""
		ast.Inspect(f, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is {
				return true
			}
			for i, id := range spec.Names {
				if id.Name == name && i < len(spec.Values) {
					written = string(source[set.Position(spec.Values[i].Pos()).Offset:set.Position(spec.Values[i].End()).Offset])
				}
			}
			return true
		})
		if written != "" {
			return written
		}
	}
	t.Fatalf("there is no constant %s in %s", name, pkg)
	return ""
}
