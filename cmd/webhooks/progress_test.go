package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
)

// much is so much work that it takes longer over a slow link than a bar does to
// appear.
const much = 2000

// colour is what a terminal takes for a colour.
var colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// long are the commands that work for long, each with its bar. Each is done on a
// deployment of its own.
func long(t *testing.T) map[string]longWork {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.ndjson")
	must(t, os.WriteFile(file, manyEvents(much), 0o600))
	return map[string]longWork{
		"publish a file": {
			args: []string{"publish", file}, bar: `publishing +[\d.]+ [KM]iB / [\d.]+ KiB \[[^\]]*\] +\d+ % +[\dhms]+ left`, done: "2000 published, 0 refused, 0 failed",
		},
		"publish what is read": {
			args: []string{"publish", "-"}, bar: `publishing +[1-9]\d* .* [\dhms]+`, done: "2000 published, 0 refused, 0 failed",
		},
		"audit": {
			prepare: func(s resting) { s.publishAll(t, manyEvents(much)) },
			args:    []string{"audit", "--since", "1"}, bar: `[a-z ]+ [1-9]\d* / \d+ \[[^\]]*\] +\d+ % +[\dhms]+ left`, done: "unproven",
		},
		"redrive": {
			prepare: func(s resting) { s.bury(t, 500) },
			args:    []string{"dead-letters", "redrive", "--all"}, bar: `redriving [1-9]\d* / 500 \[[^\]]*\] +\d+ % +[\dhms]+ left`, done: "500 dead letters",
		},
		"redrive as a rehearsal": {
			prepare: func(s resting) { s.bury(t, 500) },
			args:    []string{"dead-letters", "redrive", "--all", "--dry-run"}, bar: `looking [1-9]\d* / 500 \[[^\]]*\] +\d+ % +[\dhms]+ left`, done: "500 dead letters",
		},
	}
}

// longWork is one of them.
type longWork struct {
	prepare func(resting)
	args    []string
	bar     string // an expression for how the bar looks
	done    string // what is printed in the end
}

// TestLongWorkShowsABarOnATerminal watches each of them on a terminal: a bar with a
// count and the time that is left, which is gone when the work is done.
func TestLongWorkShowsABarOnATerminal(t *testing.T) {
	for name, work := range long(t) {
		t.Run(name, func(t *testing.T) {
			s, wire := work.place(t)
			screen := newTerminal(t)
			ended := make(chan exitCode, 1)
			go func() { ended <- s.at(t, wire, nil, screen.File, screen.File, work.args...) }()
			bar := regexp.MustCompile(work.bar)
			within(t, func() string {
				if bar.MatchString(screen.shown.String()) {
					return ""
				}
				return fmt.Sprintf("no %s is shown, but\n%q", work.bar, screen.shown.String())
			})
			wire.letGo()
			if code := <-ended; code != exitOK {
				t.Errorf("ends with %d", code)
			}
			within(t, func() string {
				_, after, _ := strings.Cut(screen.shown.String(), work.done)
				if strings.Contains(screen.shown.String(), work.done) && !bar.MatchString(after) {
					return ""
				}
				return fmt.Sprintf("not shown as done: %q", screen.shown.String())
			})
			if colour.MatchString(screen.shown.String()) {
				t.Errorf("a bar is coloured: %q", screen.shown.String())
			}
		})
	}
}

// TestNoBarReachesAPipe does the same where another program reads, and on a terminal
// that can draw nothing.
func TestNoBarReachesAPipe(t *testing.T) {
	for name, work := range long(t) {
		t.Run(name, func(t *testing.T) {
			s, wire := work.place(t)
			out, errw := newPipe(t), newPipe(t)
			if code := s.at(t, wire, nil, out.File, errw.File, work.args...); code != exitOK {
				t.Errorf("ends with %d", code)
			}
			wantSaid(t, out.read(), work.done)
			if said := out.read() + errw.read(); strings.ContainsAny(said, "\x1b\r") || strings.Contains(said, "left\n") {
				t.Errorf("this reaches a pipe: %q", said)
			}
		})
	}
	t.Run("nor a terminal that can draw nothing", func(t *testing.T) {
		work := long(t)["audit"]
		s, wire := work.place(t)
		screen := newTerminal(t)
		s.at(t, wire, map[string]string{"TERM": "dumb"}, screen.File, screen.File, work.args...)
		within(t, func() string {
			if strings.Contains(screen.shown.String(), work.done) {
				return ""
			}
			return "it is not done"
		})
		if strings.Contains(screen.shown.String(), "\x1b") {
			t.Errorf("this is shown: %q", screen.shown.String())
		}
	})
}

// TestAReplayThatIsFollowedShowsABar watches a replay that takes its time.
func TestAReplayThatIsFollowedShowsABar(t *testing.T) {
	d := atWork(t)
	if _, errw, code := d.command(t, "endpoint", "set", "s1", "--url", d.hook, "--secret-file", d.secret); code != exitOK {
		t.Fatal(errw)
	}
	d.publishAll(t, manyEvents(100))
	within(t, func() string {
		if out, _, _ := d.command(t, "status", "--sample", "0", "--admin-listen", ""); !strings.Contains(out, "all settled up to sequence 102") {
			return out
		}
		return ""
	})
	out, errw, _ := d.command(t, "replay", "start", "--since", "1", "--survey", "s1", "--rate", "5", "--json")
	id := wantJSON(t, "replay start", out+errw, "id")[0]["id"].(string)
	screen, piped := newTerminal(t), newPipe(t)
	ended := make(chan exitCode, 2)
	for _, to := range []*os.File{screen.File, piped.File} {
		go func() {
			ended <- run(t.Context(), []string{"replay", "show", id, "--follow"}, d.env, strings.NewReader(""), to, to)
		}()
	}
	bar := regexp.MustCompile(`[1-9]\d* / 100 \[[^\]]*\] +\d+ %  \d+/s, [^,]+ left, delivered \d+`)
	within(t, func() string {
		if bar.MatchString(screen.shown.String()) {
			return ""
		}
		return fmt.Sprintf("no bar is shown, but %q", screen.shown.String())
	})
	if _, errw, code := d.command(t, "replay", "cancel", id); code != exitOK {
		t.Fatal(errw)
	}
	for range 2 {
		if code := <-ended; code != exitOK {
			t.Errorf("ends with %d", code)
		}
	}
	if said := piped.read(); !strings.Contains(said, id+" is cancelled") || strings.ContainsAny(said, "\x1b\r") {
		t.Errorf("a pipe has %q", said)
	}
}

// TestColourIsForTerminalsAlone looks at the one thing that is coloured, the log of a
// run on a terminal.
func TestColourIsForTerminalsAlone(t *testing.T) {
	for name, c := range map[string]struct {
		env      map[string]string
		coloured bool
	}{
		"a terminal":                       {nil, true},
		"a person who wants none":          {map[string]string{"NO_COLOR": "1"}, false},
		"a terminal that can draw nothing": {map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			screen := newTerminal(t)
			runsOn(t, screen.File, c.env, screen.shown.String)
			if colour.MatchString(screen.shown.String()) != c.coloured {
				t.Errorf("coloured %v in %q", !c.coloured, screen.shown.String())
			}
		})
	}
	t.Run("a pipe", func(t *testing.T) {
		r, w, err := os.Pipe()
		must(t, err)
		var log lockedBuffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&log, r)
		}()
		runsOn(t, w, nil, log.String)
		must(t, w.Close())
		<-read
		must(t, r.Close())
		if strings.Contains(log.String(), "\x1b") {
			t.Errorf("this reaches a pipe: %q", log.String())
		}
	})
}

// runsOn runs the service until it says that it delivers.
func runsOn(t *testing.T, errw io.Writer, env map[string]string, said func() string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan exitCode, 1)
	args := []string{"run", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", ""}
	go func() {
		ended <- run(ctx, args, func(name string) string { return env[name] }, strings.NewReader(""), io.Discard, errw)
	}()
	within(t, func() string {
		if strings.Contains(said(), "delivering") {
			return ""
		}
		return "it does not deliver: " + said()
	})
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("ends with %d", code)
	}
}

// place is where the work is done: a deployment at the end of a slow link.
func (w longWork) place(t *testing.T) (resting, *link) {
	t.Helper()
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	if w.prepare != nil {
		w.prepare(s)
	}
	return s, slowLink(t, strings.TrimPrefix(s.url, "nats://"))
}

// at runs a command at the other end of a link, with many events to read.
func (s resting) at(t *testing.T, wire *link, env map[string]string, out, errw io.Writer, args ...string) exitCode {
	t.Helper()
	look := func(name string) string {
		if name == "NATS_URL" {
			return "nats://" + wire.address
		}
		return env[name]
	}
	return run(t.Context(), args, look, bytes.NewReader(manyEvents(much)), out, errw)
}

// manyEvents are so many events of survey s1, one a line.
func manyEvents(n int) []byte {
	var all bytes.Buffer
	for i := range n {
		all.Write(append(event("s1", fmt.Sprint("r", i)), '\n'))
	}
	return all.Bytes()
}

// publishAll publishes events, one a line.
func (s resting) publishAll(t *testing.T, lines []byte) {
	t.Helper()
	var out, errw bytes.Buffer
	if code := run(t.Context(), []string{"publish", "--nats-url", s.url}, noEnv, bytes.NewReader(lines), &out, &errw); code != exitOK {
		t.Fatal(errw.String())
	}
}

// bury makes dead letters of survey s1.
func (s resting) bury(t *testing.T, n int) {
	t.Helper()
	store := deadletters.New(s.js, s.names)
	for i := range n {
		id := fmt.Sprint("r", i)
		must(t, store.Bury(t.Context(), deadletters.Letter{
			Survey: "s1", EventID: id, Reason: "no-endpoint", Source: uint64(i + 1), Published: time.Now(), Body: event("s1", id), //nolint:gosec // a small number
		}))
	}
}
