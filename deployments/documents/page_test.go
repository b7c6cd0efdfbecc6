package documents

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// patience is how long commands have for what takes them a second, or a build.
const patience = 2 * time.Minute

// reader pastes the commands of one page into a shell.
type reader struct {
	folder  string // the page's, in the copy
	scratch string // for what the reader writes down
	bin     string // where webhooks and nats-server are
	nats    string // addresses, in place of those that the page names
	admin   string
	hook    string
	told    bool // the page says where NATS is; otherwise it is where commands look for it
	left    []left
}

// left is what was left running.
type left struct {
	*process.Process
	fence
}

// read runs all that a page has to run.
func (r *reader) read(t *testing.T, fences []fence) {
	t.Helper()
	defer r.leave(t)
	for i := range fences {
		f := &fences[i]
		if f.language != "sh" || f.notRun != "" {
			continue
		}
		if !r.paste(t, f) {
			return // what follows builds on it
		}
	}
}

// paste runs one block, and says whether it came to what it should.
func (r *reader) paste(t *testing.T, f *fence) bool {
	t.Helper()
	text := strings.TrimSpace(f.text)
	if !f.stays {
		out, ok := r.run(t, f, text)
		for deadline := time.Now().Add(patience); f.soon && ok && !r.has(out, f.prints) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			out, ok = r.run(t, f, text)
		}
		return ok && r.printed(t, f, f.prints, out)
	}
	if i := strings.LastIndex(text, "\n"); i >= 0 {
		if _, ok := r.run(t, f, text[:i]); !ok {
			return false
		}
		text = text[i+1:]
	}
	return r.keep(t, f, text)
}

// run runs commands that end.
func (r *reader) run(t *testing.T, f *fence, text string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", r.remembering()+r.here(text))
	cmd.Dir, cmd.Env = r.folder, append(r.environment(), "NATS_URL=nats://"+r.nats)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("line %d: %s\n%s\n%s", f.line, err, text, b)
	}
	return string(b), err == nil
}

// has says whether output has all that is wanted of it.
func (r *reader) has(out string, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(want string) bool { return !strings.Contains(out, r.here(want)) })
}

// printed holds output to what is wanted of it.
func (r *reader) printed(t *testing.T, f *fence, wanted []string, out string) bool {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(out, r.here(want)) {
			t.Errorf("line %d: %q is not printed by\n%sbut\n%s", f.line, want, f.text, out)
			return false
		}
	}
	return true
}

// keep starts what keeps running, and waits until it has printed what it should.
func (r *reader) keep(t *testing.T, f *fence, line string) bool {
	t.Helper()
	name := fmt.Sprint("line-", f.line)
	alone := ""
	if !r.told {
		alone = "unset NATS_URL;" // the service then brings its own
	}
	script := fmt.Sprintf("exec >&2; cd %q; %s %s exec env %s", r.folder, r.remembering(), alone, r.here(line))
	p, err := process.Start(r.scratch, name, "bash", r.environment(), "-euc", script)
	if err != nil {
		t.Error(err)
		return false
	}
	l := left{p, *f}
	r.left = append(r.left, l)
	return r.printed(t, f, f.prints, r.await(l, f.prints))
}

// await gives the output of what runs when it has all that is wanted of it, or when
// that does not come.
func (r *reader) await(l left, wanted []string) (out string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(l.Log())
		if out = string(b); err != nil || r.has(out, wanted) {
			return out
		}
		select {
		case <-l.Done():
			return out
		default:
		}
	}
	return out
}

// leave looks at what was left running, and ends it, the last first.
func (r *reader) leave(t *testing.T) {
	t.Helper()
	for _, l := range slices.Backward(r.left) {
		if !t.Failed() {
			r.printed(t, &l.fence, l.later, r.await(l, l.later))
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what line %d left running said:\n%s", l.line, l.LastWords())
		}
	}
}

// remembering gives a block what those before it have exported.
func (r *reader) remembering() string {
	state := filepath.Join(r.scratch, "exported")
	return fmt.Sprintf("[ ! -f %[1]q ] || . %[1]q; trap 'export -p > %[1]q' EXIT; ", state)
}

// here puts the addresses of this reader in place of those of the page. What is on
// the internet there is the reader's own listener.
func (r *reader) here(text string) string {
	return strings.NewReplacer(
		"127.0.0.1:4222", r.nats, "127.0.0.1:8080", r.admin, "127.0.0.1:9000", r.hook,
		"webhooks listen", "webhooks listen --listen "+r.hook,
		"https://example.com/", "http://"+r.hook+"/",
	).Replace(text)
}

func (r *reader) environment() []string {
	return append(os.Environ(),
		"CGO_ENABLED=0", // what a page builds is made of what the tools here are made of, which is compiled already
		"PATH="+r.bin+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1", "NO_PROXY=*", "no_proxy=*",
		"WEBHOOKS_LISTEN="+r.nats, "WEBHOOKS_ADMIN_LISTEN="+r.admin, "WEBHOOKS_ALLOW_INSECURE_ENDPOINTS=true")
}

// freeAddress is one that nobody listens on, below the ports that the system gives
// to connections.
func freeAddress(from int) (string, error) {
	for port := from; port < from+1000; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			continue // somebody else's
		}
		return address, l.Close()
	}
	return "", fmt.Errorf("no port is free from %d on", from)
}
