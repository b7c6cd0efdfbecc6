// Package publishing_test publishes from Node.js, as a service without a line of
// Go does, to a real `webhooks run`, and follows the events to their receivers.
package publishing_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/deployments/internal/process"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node runs one of the scripts of this folder.
func node(t *testing.T, stdin string, env []string, args ...string) string {
	t.Helper()
	for _, module := range []string{"@nats-io/jetstream", "@asyncapi/parser"} {
		if _, err := os.Stat("node/node_modules/" + module); err != nil {
			t.Fatalf("NOT RUN: %s is not installed; run: bash deployments/receivers/setup.sh", module)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = "node", append(os.Environ(), env...), strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// The validator is the AsyncAPI Initiative's own; it follows the reference to the
// schema.
func TestTheAsyncAPIDocumentIsValid(t *testing.T) {
	if out := node(t, "", nil, "validate.mjs", "../../../events/asyncapi.yaml"); !strings.Contains(out, "AsyncAPI 3.0.0: 2 operations, 1 messages, valid") {
		t.Error(out)
	}
}

func TestTheValidatorFindsWhatIsWrong(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	schema, err := filepath.Abs("../../events/event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(events.AsyncAPI()), "action: send", "action: shout", 1)
	text = strings.Replace(text, "./event.schema.json", schema, 1)
	if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "validate.mjs", broken)
	cmd.Dir = "node"
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "operations.publish.action") {
		t.Errorf("%v\n%s", err, out)
	}
}

// examples are those of the schema and of the AsyncAPI document.
func examples(t *testing.T) []string {
	t.Helper()
	var schema struct{ Examples []json.RawMessage }
	if err := json.Unmarshal(events.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Messages map[string]struct {
				Examples []struct{ Payload map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(events.AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for i, e := range schema.Examples {
		bodies = append(bodies, strings.Replace(string(e), `"id": "r1"`, `"id": "schema-`+string(rune('a'+i))+`"`, 1))
	}
	for _, e := range doc.Components.Messages["responseCompleted"].Examples {
		body, err := json.Marshal(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		// The full one has the same id in both documents: here it is one of its own.
		bodies = append(bodies, strings.Replace(string(body), "7c9e6679", "8d0f7780", 1))
	}
	return bodies
}

type received struct{ id, body string }

func TestWhatNodePublishesIsDeliveredByteForByte(t *testing.T) {
	requests := make(chan received, 16)
	owner := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			requests <- received{r.Header.Get(delivery.HeaderDelivery), string(body)}
		}
	}))
	defer owner.Close()
	s := startService(t)
	for _, survey := range []string{"s1", "550e8400-e29b-41d4-a716-446655440000"} {
		s.webhooks(t, "endpoint", "set", survey, "--url", owner.URL, "--allow-insecure-endpoints")
	}
	bodies := examples(t)
	if len(bodies) != 4 {
		t.Fatalf("%d examples", len(bodies))
	}
	for _, body := range bodies {
		if out := node(t, body, []string{"NATS_URL=" + s.nats}, "publish.mjs"); !strings.Contains(out, "stored in RESPONSES at sequence") || strings.Contains(out, "duplicate") {
			t.Errorf("%s: %s", body, out)
		}
	}
	if out := node(t, bodies[0], []string{"NATS_URL=" + s.nats}, "publish.mjs"); !strings.Contains(out, "as a duplicate") {
		t.Errorf("published again: %s", out)
	}
	got := map[string]bool{}
	for range bodies {
		select {
		case r := <-requests:
			got[r.body] = true
		case <-time.After(30 * time.Second):
			t.Fatal("not everything arrived within 30 s")
		}
	}
	for _, body := range bodies {
		if !got[body] {
			t.Errorf("%s was not delivered as it was published", body)
		}
	}
}

// service is a `webhooks run` of its own.
type service struct{ binary, nats, data string }

func startService(t *testing.T) *service {
	t.Helper()
	bin := t.TempDir()
	s := &service{binary: filepath.Join(bin, "webhooks"), nats: freeAddress(t), data: t.TempDir()}
	if err := process.Build(t.Context(), bin, "github.com/popsee/webhooks/cmd/webhooks"); err != nil {
		t.Fatal(err)
	}
	admin := freeAddress(t)
	var log strings.Builder
	cmd := exec.Command(s.binary, "run", "--listen", s.nats, "--admin-listen", admin, "--data-dir", s.data, "--allow-insecure-endpoints") //nolint:noctx // ended by a signal, below
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service: %v\n%s", err, log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); !ready(t, admin); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the service is not ready after 30 s")
		}
	}
	return s
}

func (s *service) webhooks(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, args...)
	cmd.Env = append(os.Environ(), "NATS_URL=nats://"+s.nats, "WEBHOOKS_DATA_DIR="+s.data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("webhooks %v: %v\n%s", args, err, out)
	}
}

func ready(t *testing.T, admin string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
