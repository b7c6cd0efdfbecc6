package main

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/popsee/webhooks/delivery/leaktest"
)

// FuzzArguments reads command lines, an argument a line, and runs none of them:
// each is understood or refused, with words that hold neither what the environment
// knows nor what a terminal would obey.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"run", "run\n--nats-url\nnats://a:b@c:1", "endpoint\nset\ns1\n--url\nhttps://example.com/", "endpoint\nset\n--\n-x", "--help", "why\nr1\n--survey\ns1",
		"publish\n-", "keys\nremove\nabc\n--force", "run\n--allow\n10.0.0.0/8,::/0", "run\n--ack-wait\n1h\n--event-max-bytes\n1MiB", "attempts\n--since\n1h\n--follow",
		"provision\n--resume-from\nmark\n--dry-run", "verify\n--signature\nsha256=00\nbody", "dead-letters\nredrive\n1\n2", "run\n--log-level=\x1b[2J", "\xff",
	} {
		f.Add(line)
	}
	secrets := leaktest.Plant(f, plantedPassword)
	// Made once: it costs a thousand times what reading a line does.
	w := &world{ctx: f.Context(), out: io.Discard, errw: io.Discard, in: strings.NewReader(""), env: func(name string) string {
		if name == "NATS_PASSWORD" {
			return plantedPassword
		}
		return ""
	}}
	code := -1
	parser, err := w.parser(&code)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
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
		if _, err := parser.Parse(strings.Split(line, "\n")); err != nil {
			var said strings.Builder
			w.errw = &said
			if w.fail(usage{err}) == exitOK {
				t.Error("a refused command line is a success")
			}
			secrets.In(t, "what is said of "+strconv.Quote(line), []byte(said.String()))
			if !utf8.ValidString(said.String()) || strings.ContainsAny(said.String(), "\x1b\x07\x00") {
				t.Errorf("%q: says %q", line, said.String())
			}
		}
	})
}
