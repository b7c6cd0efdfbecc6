package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// TestTheReadmeHasTheExitCodes holds the README's table to the codes there are, both
// ways, and in the same words as --help.
func TestTheReadmeHasTheExitCodes(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	must(t, err)
	_, table, found := strings.Cut(string(b), "| exit code | means |\n|---|---|\n")
	if !found {
		t.Fatal("the README has no table of exit codes")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var want strings.Builder
	for _, c := range exitCodes() {
		fmt.Fprintf(&want, "| %d | %s |\n", int(c), c)
	}
	if table+"\n" != want.String() {
		t.Errorf("the README has\n%s\nand should have\n%s", table, want.String())
	}
	var help bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, noEnv, strings.NewReader(""), &help, io.Discard); code != 0 {
		t.Errorf("--help ends with %d", code)
	}
	words := strings.Join(strings.Fields(help.String()), " ")
	for _, c := range exitCodes() {
		wantSaid(t, words, fmt.Sprintf("%d %s", int(c), c))
	}
}

// TestEveryExitCodeComesOfARealRun runs, for each code, a command that ends with it.
func TestEveryExitCodeComesOfARealRun(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	stuck := atRest(t)
	stuck.publish(t, "s1", "r1")
	stuck.otherStreamsMark(t)
	gaps := atRest(t)
	gaps.publish(t, "s1", "r1", "r2")
	stream, err := gaps.js.Stream(t.Context(), gaps.names.Stream())
	must(t, err)
	must(t, stream.DeleteMsg(t.Context(), 1))
	for want, c := range map[exitCode]struct {
		s    resting
		args []string
		says string
	}{
		exitOK:          {s, []string{"endpoint", "get", "s1"}, ""},
		exitFailure:     {s, []string{"endpoint", "get", "s2"}, "error: survey s2: survey has no webhook endpoint\nhint: create it with"},
		exitUsage:       {s, []string{"endpoint", "get", "a b"}, `error: survey "a b" is not a valid id`},
		exitUnreachable: {s, []string{"status", "--nats-url", "nats://127.0.0.1:1"}, "error: connect to NATS at nats://127.0.0.1:1"},
		exitConflict:    {s, []string{"run", "--nats-url", s.url, "--keyring", newRing(t), "--admin-listen", "", "--ack-wait", "1m"}, "error: what exists on NATS is set up otherwise"},
		exitAlarm:       {stuck, []string{"status", "--sample", "0", "--admin-listen", ""}, "hint: webhooks provision --resume-from"},
		exitUnproven:    {gaps, []string{"audit", "--since", "1"}, "error: not every event is accounted for"},
	} {
		t.Run(want.String(), func(t *testing.T) {
			_, errw, code := c.s.command(t, c.args...)
			if code != want {
				t.Errorf("%v ends with %d, want %d", c.args, code, want)
			}
			wantSaid(t, errw, c.says)
		})
	}
	t.Run(exitInterrupted.String(), func(t *testing.T) { s.interrupt(t) })
}

// otherStreamsMark gives the deployment a mark of another event stream, as whoever
// restores half of a backup does.
func (s resting) otherStreamsMark(t *testing.T) {
	t.Helper()
	kv, err := s.bucket(t.Context(), s.names.State())
	must(t, err)
	_, err = kv.PutString(t.Context(), "mark", `{"format":"1","floor":7,"stream_created":"2020-01-01T00:00:00Z","at":"2020-01-01T00:00:00Z"}`)
	must(t, err)
}

// interrupt interrupts a command that waits for more to publish: it says what became
// of what it has read.
func (s resting) interrupt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	in, feed := io.Pipe()
	var out, errw lockedBuffer
	ended := make(chan exitCode, 1)
	go func() {
		ended <- run(ctx, []string{"publish", "--nats-url", s.url, "--json"}, noEnv, in, &out, &errw)
	}()
	_, err := feed.Write(append(event("s1", "before"), '\n'))
	must(t, err)
	stream, err := s.js.Stream(t.Context(), s.names.Stream())
	must(t, err)
	within(t, func() string {
		if _, err := stream.GetLastMsgForSubject(t.Context(), s.names.Subject("s1")); err != nil {
			return err.Error()
		}
		return ""
	})
	stop()
	if code := <-ended; code != exitInterrupted || errw.String() != "interrupted\n" {
		t.Errorf("ends with %d and says %q", code, errw.String())
	}
	if said := out.String(); !strings.Contains(said, `"published":1`) && !strings.Contains(said, `"failed":1`) { // by whether it was heard in time that it is stored
		t.Errorf("nothing is said of the event that was read: %s", said)
	}
	must(t, feed.Close()) // ends the read that was left
}

// TestUnreadableInputIsNotCalledInvalid reads a folder.
func TestUnreadableInputIsNotCalledInvalid(t *testing.T) {
	s := atRest(t)
	_, errw, code := s.command(t, "publish", t.TempDir())
	if code != exitFailure || !strings.Contains(errw, "error: read events: read ") || strings.Contains(errw, "valid JSON") {
		t.Errorf("ends with %d and says %s", code, errw)
	}
}
