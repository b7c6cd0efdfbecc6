// Package receivers_test runs the receivers that survey owners are given, each
// in its language's own interpreter, against the service's own client.
package receivers_test

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a secret with ünïcode and spaces"

// languages are the receivers, and how each is started. PHP's own server takes
// its address as an argument and cannot choose a port.
var languages = map[string]struct {
	command []string
	banner  *regexp.Regexp // what is printed when it listens
	port    bool           // whether it must be given a port
}{
	"node":   {[]string{"node", "node/receiver.mjs"}, listening, false},
	"python": {[]string{"python3", "python/receiver.py"}, listening, false},
	"ruby":   {[]string{"ruby", "ruby/receiver.rb"}, listening, false},
	"go":     {[]string{"go", "run", "./go"}, listening, false},
	"php":    {[]string{"php", "-S", "127.0.0.1:PORT", "php/receiver.php"}, regexp.MustCompile(`(http://127\.0\.0\.1:\d+)\) started`), true},
}

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

// payloads are bodies that other languages get wrong when they touch them.
func payloads() map[string]string {
	event := func(answer string) string {
		return `{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","survey":{"id":"s1"},"response":{"id":"r","answers":[{"questionId":"q1","value":` + answer + `}]}}`
	}
	largest := event(`""`)
	return map[string]string{
		"plain":                   event(`9`),
		"emoji":                   event(`"😀 ☕ 👩‍👩‍👧"`),
		"escapes":                 event(`"\ud83d\ude00 \" \\ \/ \u00e9 \n\t"`),
		"an escaped NUL":          event(`"\u0000"`),
		"a number above 2^53":     event(`9007199254740993`),
		"blanks and line ends":    " " + strings.ReplaceAll(event(`1`), ",", ",\r\n  ") + "\r\n",
		"the largest body":        event(`"` + strings.Repeat("x", events.MaxBytes-len(largest)) + `"`),
		"the largest, multi-byte": event(`"` + strings.Repeat("é", (events.MaxBytes-len(largest))/2) + `"`),
	}
}

func TestReceivers(t *testing.T) {
	for name := range languages {
		t.Run(name, func(t *testing.T) {
			r := start(t, name)
			for payload, body := range payloads() {
				r.wantAccepted(t, payload, body)
			}
			r.wantRefused(t)
			r.wantDuplicateRecognised(t)
			r.wantOnlyPost(t)
		})
	}
}

// running is a receiver in its interpreter.
type running struct {
	url string
	out *lines
}

// lines collects what a process prints.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(s + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func start(t *testing.T, name string) *running {
	t.Helper()
	l := languages[name]
	command := slices.Clone(l.command)
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Fatalf("NOT RUN: %s is not installed; run: bash deployments/receivers/setup.sh", command[0])
	}
	port := "0"
	if l.port {
		port = freePort(t)
	}
	if name == "go" {
		command = []string{buildGo(t)}
	}
	for i := range command {
		command[i] = strings.Replace(command[i], "PORT", port, 1)
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "WEBHOOK_SECRET="+secret, "PORT="+port, "TMPDIR="+t.TempDir())
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	r := &running{out: &lines{}}
	found := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(found)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			r.out.add(s.Text())
			if m := l.banner.FindStringSubmatch(s.Text()); m != nil && r.url == "" {
				r.url = m[1]
				found <- m[1]
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: its status says nothing
		reading.Wait()
		_ = pipe.Close()
	})
	select {
	case url, ok := <-found:
		if !ok {
			t.Fatalf("%s ended before it listened:\n%s", name, r.out)
		}
		return &running{url: url, out: r.out}
	case <-time.After(time.Minute):
		t.Fatalf("%s does not listen after a minute:\n%s", name, r.out)
		return nil
	}
}

// buildGo compiles the Go receiver, so that killing it kills the server and not
// only the go command around it.
func buildGo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "receiver")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as other programs are built for tests: the standard library is compiled once
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// send delivers a body as the service does.
func (r *running) send(t *testing.T, key, id, body string) delivery.Attempt {
	t.Helper()
	s, err := delivery.NewSecret(key)
	if err != nil {
		t.Fatal(err)
	}
	rules := delivery.Rules{AllowInsecure: true}
	target, err := delivery.NewTarget(delivery.TargetSpec{Survey: "s1", URL: r.url + "/webhook", Secrets: []delivery.SecretSpec{{Secret: s}}}, rules)
	if err != nil {
		t.Fatal(err)
	}
	client, err := delivery.NewClient(delivery.Options{Version: "test", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Send(t.Context(), target, events.Event{ID: id, Kind: events.KindCompleted, Survey: "s1", Body: []byte(body)}, delivery.Meta{Number: 1})
}

func (r *running) wantAccepted(t *testing.T, payload, body string) {
	t.Helper()
	id := "genuine-" + strings.ReplaceAll(payload, " ", "-")
	if a := r.send(t, secret, id, body); a.Verdict != delivery.Delivered {
		t.Errorf("%s: %s (%d) %s\n%s", payload, a.Reason, a.Status, a.Detail, r.out)
	}
}

// wantRefused tampers with what was sent, by hand: the client would not.
func (r *running) wantRefused(t *testing.T) {
	t.Helper()
	body := payloads()["plain"]
	s, err := delivery.NewSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	good := delivery.Sign(s, []byte(body))
	flipped := []byte(good)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct{ signature, body string }{
		"a tampered body":            {good, strings.Replace(body, "9", "8", 1)},
		"a body with a line end":     {good, body + "\n"},
		"a hex digit changed":        {string(flipped), body},
		"no prefix":                  {strings.TrimPrefix(good, "sha256="), body},
		"another prefix":             {strings.Replace(good, "sha256=", "sha1=", 1), body},
		"upper case":                 {"sha256=" + strings.ToUpper(good[7:]), body},
		"cut short":                  {good[:len(good)-2], body},
		"longer":                     {good + "00", body},
		"empty":                      {"", body},
		"the prefix alone":           {"sha256=", body},
		"bytes that are not in hex":  {"sha256=" + strings.Repeat("zz", 32), body},
		"bytes that are no ASCII":    {"sha256=" + strings.Repeat("é", 32), body},
		"an empty body":              {good, ""},
		"the signature of no secret": {"sha256=" + strings.Repeat("0", 64), body},
	} {
		if status := r.post(t, c.signature, c.body); status != http.StatusUnauthorized {
			t.Errorf("%s: answered %d, want 401", name, status)
		}
	}
	if status := r.post(t, good, body); status != http.StatusOK {
		t.Errorf("the genuine request by hand: answered %d", status)
	}
	if a := r.send(t, "another secret", "wrong-secret", body); a.Status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: answered %d, want 401", a.Status)
	}
}

func (r *running) post(t *testing.T, signature, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/webhook", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(delivery.HeaderDelivery, fmt.Sprintf("by-hand-%08x", crc32.ChecksumIEEE([]byte(signature+body))))
	if signature != "" {
		req.Header.Set(delivery.HeaderSignature, signature)
	}
	return status(t, req)
}

func status(t *testing.T, req *http.Request) int {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (r *running) wantDuplicateRecognised(t *testing.T) {
	t.Helper()
	for range 2 {
		if a := r.send(t, secret, "twice", payloads()["plain"]); a.Verdict != delivery.Delivered {
			t.Errorf("sent twice: %s (%d)", a.Reason, a.Status)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out := r.out.String()
		if strings.Count(out, "accepted twice") == 1 && strings.Count(out, "duplicate twice") == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the duplicate was not recognised:\n%s", out)
		}
	}
}

func (r *running) wantOnlyPost(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/webhook", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, req); got != http.StatusMethodNotAllowed {
		t.Errorf("a GET is answered %d, want 405", got)
	}
}

// TestTheRulesNameTheHeadersThatAreSent holds the page for survey owners to the
// constants.
func TestTheRulesNameTheHeadersThatAreSent(t *testing.T) {
	page := readPage(t)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z-]+)` \\|").FindAllStringSubmatch(page, -1) {
		documented = append(documented, m[1])
	}
	sent := []string{
		"Content-Type", "User-Agent",
		delivery.HeaderSignature, delivery.HeaderEvent, delivery.HeaderDelivery, delivery.HeaderAttempt, delivery.HeaderReplay, delivery.HeaderTest,
		delivery.HeaderStandardID, delivery.HeaderStandardTimestamp, delivery.HeaderStandardSignature, delivery.HeaderTraceparent, delivery.HeaderTracestate,
	}
	slices.Sort(documented)
	slices.Sort(sent)
	if !slices.Equal(documented, sent) {
		t.Errorf("the page documents %v, the service sends %v", documented, sent)
	}
}

// TestTheWorkedExampleVerifies computes the page's example with the service's own
// signing.
func TestTheWorkedExampleVerifies(t *testing.T) {
	page := readPage(t)
	field := func(name string) string {
		m := regexp.MustCompile("(?m)^" + name + ": +(.+)$").FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("the example has no %s", name)
		}
		return m[1]
	}
	s, err := delivery.NewSecret(field("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got := delivery.Sign(s, []byte(field("body"))); got != field("signature") {
		t.Errorf("the example's signature is %s, want %s", field("signature"), got)
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	return readFile(t, "README.md")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
