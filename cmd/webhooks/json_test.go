package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery"
)

// sayNoMore are the commands without --json, each with what they print instead of
// anything to be taken apart.
func sayNoMore() map[string]string {
	return map[string]string{
		"demo": "a story for people", "run": "its log, which is JSON where nobody watches", "completion": "a shell's code", "version": "one line",
		"endpoint remove": "one line", "endpoint enable": "one line", "endpoint disable": "one line", "endpoint rotate-secret": "one line",
		"keys generate": "one line", "keys rotate": "what to do next", "keys reseal": "one line", "keys remove": "one line", "keys public": "JSON anyhow",
	}
}

// TestWhatIsPrintedComesAsJSONToo runs every command that has --json against a real
// deployment at work: what they print is JSON, a value a line, and nothing else.
func TestWhatIsPrintedComesAsJSONToo(t *testing.T) {
	commands := leaves(t)
	d := atWork(t)
	ran := map[string]bool{}
	say := func(holds string, args ...string) []map[string]any {
		t.Helper()
		path := commandOf(commands, args)
		ran[path] = true
		out, errw, code := d.command(t, append(args, "--json")...)
		if code != exitOK {
			t.Errorf("webhooks %s ends with %d: %s", strings.Join(args, " "), code, errw)
		}
		return wantJSON(t, path, out, holds)
	}
	body := filepath.Join(t.TempDir(), "body.json")
	must(t, os.WriteFile(body, event("s1", "r1"), 0o600))

	say("revision", "endpoint", "set", "s1", "--url", d.hook, "--secret-file", d.secret)
	say("url", "endpoint", "list")
	say("url", "endpoint", "get", "s1")
	say("verdict", "endpoint", "test", "s1")
	say("summary", "publish", body)
	within(t, func() string {
		if out, _, _ := d.command(t, "attempts", "--response", "r1", "--json"); !strings.Contains(out, `"delivered"`) {
			return "r1 is not delivered: " + out
		}
		return ""
	})
	say("event_id", "attempts")
	say("response", "why", "r1")
	say("lag_events", "status", "--sample", "0", "--admin-listen", "")
	say("waiting_events", "lanes")
	say("sequences", "audit", "--since", "1")
	say("grade", "doctor", "--admin-listen", "")
	say("kind", "provision", "--dry-run")
	say("reason", "dead-letters", "list")
	say("body", "dead-letters", "show", "1")
	say("letters", "dead-letters", "purge", "1", "--dry-run")
	say("letters", "dead-letters", "redrive", "--survey", "s1", "--dry-run")
	replay := fmt.Sprint(say("state", "replay", "start", "--since", "1", "--rate", "0.1")[0]["id"])
	say("state", "replay", "list")
	say("state", "replay", "pause", replay)
	say("state", "replay", "show", replay)
	say("state", "replay", "resume", replay)
	say("state", "replay", "cancel", replay)
	say("dry_run", "forget", "--survey", "s1", "--dry-run")
	folder := filepath.Join(t.TempDir(), "backup")
	say("streams", "backup", folder)
	say("backup", "restore", folder, "--dry-run", "--nats-url", externalNATS(t, &server.Options{}).ClientURL())
	say("seals", "keys", "list")
	say("origin", "config", "show")
	say("verifies", "verify", "--secret-file", d.secret, "--signature", "sha256="+d.signed(t, body), body)
	ran["listen"] = true
	wantJSON(t, "listen", d.heard(), "answered")

	for path, node := range commands {
		_, exempt := sayNoMore()[path]
		switch has := hasFlag(node, "json"); {
		case has && !ran[path]:
			t.Errorf("webhooks %s has --json, and was not run with it here", path)
		case has == exempt:
			t.Errorf("webhooks %s: --json %v, and listed as saying nothing to take apart: %v", path, has, exempt)
		}
	}
	for path := range sayNoMore() {
		if commands[path] == nil {
			t.Errorf("there is no command %q", path)
		}
	}
}

// leaves are all commands by their words.
func leaves(t *testing.T) map[string]*kong.Node {
	t.Helper()
	all := map[string]*kong.Node{}
	for _, leaf := range newParser(t).Model.Leaves(false) {
		all[pathOf(leaf)] = leaf
	}
	return all
}

// commandOf is which command a line begins with.
func commandOf(commands map[string]*kong.Node, args []string) string {
	line := strings.Join(args, " ") + " "
	for _, path := range slices.Sorted(maps.Keys(commands)) {
		if strings.HasPrefix(line, path+" ") {
			return path
		}
	}
	return ""
}

func hasFlag(node *kong.Node, name string) bool {
	return slices.ContainsFunc(node.Flags, func(f *kong.Flag) bool { return f.Name == name })
}

// wantJSON reads output as JSON, one object a line and at least one; holds is a field
// that one of them has.
func wantJSON(t *testing.T, path, out, holds string) (all []map[string]any) {
	t.Helper()
	found := false
	for line := range strings.Lines(out) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("webhooks %s --json prints %q: %v", path, line, err)
		}
		_, has := v[holds]
		found, all = found || has, append(all, v)
	}
	if !found {
		t.Errorf("webhooks %s --json prints nothing with %q:\n%s", path, holds, out)
	}
	return all
}

// working is a deployment whose service runs, with a receiver, an event that waits
// and one that was given up on.
type working struct {
	resting

	ring   string
	secret string // the file with the secret that s1 and the receiver share
	hook   string
	heard  func() string // ends the receiver, and gives what it has printed
}

func atWork(t *testing.T) *working {
	t.Helper()
	dir := t.TempDir()
	settings := testSettings(dir)
	settings.Embedded.Listen = "127.0.0.1:0"
	v, err := openService(t.Context(), settings, noEnv, zerolog.Nop())
	must(t, err)
	t.Cleanup(running(t, v))
	d := &working{resting: resting{&session{nc: v.nc, js: v.js, names: v.layout.Names}, v.embedded.URL()}, ring: filepath.Join(dir, "keyring.json"), secret: filepath.Join(dir, "secret.txt")}
	must(t, os.WriteFile(d.secret, []byte("correct horse battery staple"), 0o600))
	d.listen(t)
	_, err = d.js.Publish(t.Context(), d.names.Subject("s3"), []byte("not an event"))
	must(t, err)
	d.endpointAt(t, "off", false)
	d.publish(t, "off", "waits")
	within(t, func() string { return d.holdsOne(t, d.names.Lanes()) })
	within(t, func() string { return d.holdsOne(t, d.names.DeadLetters()) })
	return d
}

func (d *working) holdsOne(t *testing.T, stream string) string {
	t.Helper()
	s, err := d.js.Stream(t.Context(), stream)
	must(t, err)
	if s.CachedInfo().State.Msgs == 1 {
		return ""
	}
	return "nothing comes into " + stream
}

// listen runs the receiver.
func (d *working) listen(t *testing.T) {
	t.Helper()
	address, err := newPorts().free()
	must(t, err)
	d.hook = "http://" + address + "/"
	ctx, stop := context.WithCancel(t.Context())
	var out, errw lockedBuffer
	ended := make(chan exitCode, 1)
	go func() {
		ended <- run(ctx, []string{"listen", "--listen", address, "--secret-file", d.secret, "--json"}, noEnv, strings.NewReader(""), &out, &errw)
	}()
	var code exitCode
	d.heard = func() string {
		stop()
		if code = <-ended; code != exitOK {
			t.Errorf("listen ends with %d: %s", code, errw.String())
		}
		ended <- code
		return out.String()
	}
	t.Cleanup(func() { d.heard() })
}

// command runs one command as the operator of the deployment.
func (d *working) command(t *testing.T, args ...string) (out, errw string, code exitCode) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, d.env, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

func (d *working) env(name string) string {
	return map[string]string{"NATS_URL": d.url, "WEBHOOKS_KEYRING": d.ring, "WEBHOOKS_ALLOW_INSECURE_ENDPOINTS": "true"}[name]
}

// signed is the signature of a file, without its prefix.
func (d *working) signed(t *testing.T, file string) string {
	t.Helper()
	body, err := os.ReadFile(file)
	must(t, err)
	secret, err := delivery.NewSecret("correct horse battery staple")
	must(t, err)
	return strings.TrimPrefix(delivery.Sign(secret, body), "sha256=")
}
