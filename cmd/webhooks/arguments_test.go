package main

import (
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/popsee/webhooks/delivery/leaktest"
)

// commandLines reads command lines and runs none of them.
type commandLines struct {
	w       *world
	parser  *kong.Kong
	secrets leaktest.Secrets
}

func readCommandLines(tb testing.TB) *commandLines {
	tb.Helper()
	secrets := leaktest.Plant(tb, plantedPassword)
	// Made once: it costs a thousand times what reading a line does.
	w := &world{ctx: tb.Context(), out: io.Discard, errw: io.Discard, in: strings.NewReader(""), env: func(name string) string {
		if name == "NATS_PASSWORD" {
			return plantedPassword
		}
		return ""
	}}
	code := -1
	parser, err := w.parser(&code)
	if err != nil {
		tb.Fatal(err)
	}
	return &commandLines{w, parser, secrets}
}

// check reads one line, an argument a line: it is understood or refused, with words that
// hold neither what the environment knows nor what a terminal would obey.
func (c *commandLines) check(t *testing.T, line string) {
	t.Helper()
	if strings.Contains(line, "config") || strings.Contains(line, "-c") {
		return // it would read files, whichever they are
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exited); !ok {
				panic(p)
			}
		}
	}()
	if _, err := c.parser.Parse(strings.Split(line, "\n")); err != nil {
		var said strings.Builder
		c.w.errw = &said
		if c.w.fail(usage{err}) == exitOK {
			t.Error("a refused command line is a success")
		}
		c.secrets.In(t, "what is said of "+strconv.Quote(line), []byte(said.String()))
		if !utf8.ValidString(said.String()) || strings.ContainsAny(said.String(), "\x1b\x07\x00") {
			t.Errorf("%q: says %q", line, said.String())
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"run", "run\n--nats-url\nnats://a:b@c:1", "endpoint\nset\ns1\n--url\nhttps://example.com/", "endpoint\nset\n--\n-x", "--help", "why\nr1\n--survey\ns1",
		"publish\n-", "keys\nremove\nabc\n--force", "run\n--allow\n10.0.0.0/8,::/0", "run\n--ack-wait\n1h\n--event-max-bytes\n1MiB", "attempts\n--since\n1h\n--follow",
		"provision\n--resume-from\nmark\n--dry-run", "verify\n--signature\nsha256=00\nbody", "dead-letters\nredrive\n1\n2", "run\n--log-level=\x1b[2J", "\xff",
	} {
		f.Add(line)
	}
	c := readCommandLines(f)
	f.Fuzz(func(t *testing.T, line string) { c.check(t, line) })
}

// Fuzzing that knows nothing of the program's words seldom hits them: this is chance
// with nothing else.
func TestCommandLinesOfChance(t *testing.T) {
	c := readCommandLines(t)
	paths, flags := [][]string{nil}, []string{"--help"}
	for _, leaf := range c.parser.Model.Leaves(false) {
		paths = append(paths, strings.Fields(leaf.Path()))
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				flags = append(flags, "--"+flag.Name)
			}
		}
	}
	values := []string{
		"", "-", "--", "0", "-1", "1h", "1MiB", "1e9", "99999999999999999999", "10.0.0.0/8,::/0", "nats://a:b@c:1", "https://example.com/", "2026-01-31T12:00:00Z", "s1", "*.>",
		"sha256=00", "\x1b[2J", "\x07", "\x00", "\xff\xfe", strings.Repeat("a", 5000), "a=b=c", "{}", "true",
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	for range 3000 {
		words := slices.Clone(paths[rng.IntN(len(paths))])
		for range rng.IntN(5) {
			switch rng.IntN(3) {
			case 0:
				words = append(words, pick(values))
			case 1:
				words = append(words, pick(flags), pick(values))
			default:
				words = append(words, pick(flags)+"="+pick(values))
			}
		}
		c.check(t, strings.Join(words, "\n"))
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}
