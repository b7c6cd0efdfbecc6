package checks

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/events"
)

// patience bounds waiting for something that happens within seconds.
const patience = 90 * time.Second

// options are what a service is started with.
type options struct {
	program string        // empty is the program as it is shipped
	nats    string        // URL; empty starts an embedded server
	args    []string      // more flags
	env     []string      // more of its environment
	login   []nats.Option // who the test itself is on the bus; none: who does not say
	root    string        // folder that is all the process sees; empty is the machine's
}

// service is a running `webhooks run`.
type service struct {
	t     *testing.T
	admin string
	nats  string
	cmd   *exec.Cmd
	log   *log
	login []nats.Option
	js    jetstream.JetStream // as a publisher and the platform would; opened by bus
}

// start runs the real binary. It is killed at the end of the test, if it lives.
func start(t *testing.T, o options) *service {
	t.Helper()
	s := &service{t: t, admin: freeAddress(t), nats: o.nats, login: o.login, log: &log{}}
	args := append([]string{"run", "--admin-listen", s.admin, "--log-level", "warn", "--log-format", "json", "--allow-insecure-endpoints"}, o.args...)
	program := cmp.Or(o.program, theBinary)
	if o.nats == "" {
		listen := freeAddress(t)
		s.nats = "nats://" + listen
		data := t.TempDir()
		if o.root != "" {
			data = "/data"
		}
		args = append(args, "--listen", listen, "--data-dir", data)
	} else {
		args = append(args, "--nats-url", o.nats)
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	s.cmd.Env = append([]string{"HOME=/"}, o.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if o.root != "" {
		enclose(t, s.cmd, o.root)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the log of the service:\n%s", s.log)
		}
	})
	return s
}

// enclose makes the program run in a folder that holds nothing but itself, as the
// image does.
func enclose(t *testing.T, cmd *exec.Cmd, root string) {
	t.Helper()
	program, err := os.ReadFile(theBinary)
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "webhooks"), program, 0o755)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "data"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = "/webhooks", "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if os.Geteuid() != 0 { // who is not root may still be root of a world of his own
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
}

func (s *service) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

func (s *service) scrape() scraped { return readMetrics(s.t, s.admin) }

// await scrapes until something is so.
func (s *service) await(what string, so func(scraped) bool) scraped {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		got := s.scrape()
		if so(got) {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("after %s: not %s", patience, what)
		}
	}
}

// awaitReady waits until the service delivers, and has been counted and described
// once.
func (s *service) awaitReady() scraped {
	s.t.Helper()
	return s.await("ready, with its shards and streams", func(got scraped) bool {
		return got.value("webhooks_ready") == 1 && got.value("webhooks_shards") > 0 && got.value("webhooks_shards_held") == got.value("webhooks_shards") &&
			got.value("webhooks_streams_seen_timestamp_seconds") > 0 && got.value("webhooks_last_look_timestamp_seconds") > 0
	})
}

// wantFiring checks that alerts fire on the service's metrics, which did not
// before.
func (s *service) wantFiring(first, last scraped, want ...string) {
	s.t.Helper()
	was := firing(s.t, s.admin, first, first, first)
	got := firing(s.t, s.admin, first, last, last)
	for _, name := range want {
		// The figures' own age is no news here: nothing moves in what was scraped once.
		if slices.Contains(was, name) && name != "WebhooksLagUnknown" && name != "WebhooksStreamsUnseen" {
			s.t.Errorf("%s fires before anything happened", name)
		}
		if !slices.Contains(got, name) {
			s.t.Errorf("%s does not fire; what fires: %v", name, got)
		}
		proved(name)
	}
}

// wantFiringAtOnce checks that an alert fires on what a service shows from its start.
func (s *service) wantFiringAtOnce(first scraped, want string) {
	s.t.Helper()
	if got := firing(s.t, s.admin, first, first, first); !slices.Contains(got, want) {
		s.t.Errorf("%s does not fire; what fires: %v", want, got)
	}
	proved(want)
}

// wantWarned checks whether the service has warned that NATS acknowledges what is not
// on its disk.
func (s *service) wantWarned(want bool) {
	s.t.Helper()
	text := s.log.String()
	if got := strings.Contains(text, "acknowledges events before they are on its disk"); got != want || strings.Contains(text, "could not be checked") {
		s.t.Errorf("warned of NATS' sync setting: %v, want %v; its log:\n%s", got, want, text)
	}
}

// bus connects to the service's NATS.
func (s *service) bus() jetstream.JetStream {
	s.t.Helper()
	if s.js != nil {
		return s.js
	}
	nc, err := nats.Connect(s.nats, append(s.login, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		s.t.Fatal(err)
	}
	return s.js
}

// endpoint writes an endpoint as the platform does, and waits until the service has it.
func (s *service) endpoint(survey, url string, enabled bool) {
	s.t.Helper()
	value, err := config.Endpoint{Survey: events.Survey(survey), URL: url, Enabled: enabled}.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(survey, value)
}

func (s *service) put(survey string, value []byte) {
	s.t.Helper()
	kv, err := s.bus().KeyValue(s.t.Context(), events.Names{}.Endpoints())
	if err != nil {
		s.t.Fatal(err)
	}
	before := s.scrape().value("webhooks_endpoints")
	if _, err := kv.Create(s.t.Context(), survey, value); err != nil {
		s.t.Fatal(err)
	}
	s.await("one endpoint more", func(got scraped) bool { return got.value("webhooks_endpoints") > before })
}

// publish publishes n events of a survey, each of about size bytes.
func (s *service) publish(survey string, n, size int) {
	s.t.Helper()
	filler := string(bytes.Repeat([]byte("x"), size))
	sum, err := events.NewPublisher(s.bus(), events.PublisherOptions{}).PublishAll(s.t.Context(), func(yield func([]byte) bool) {
		for range n {
			published.Lock()
			published.n++
			id := published.n
			published.Unlock()
			if !yield(fmt.Appendf(nil, `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":%q,"name":%q},"response":{"id":"r%d"}}`, survey, filler, id)) {
				return
			}
		}
	}, nil)
	if err != nil || sum.Published != n {
		s.t.Fatalf("published %+v of %d: %v", sum, n, err)
	}
}

// published numbers the responses of the whole run.
var published struct {
	sync.Mutex
	n int
}

// owner is a survey owner's server.
func owner(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + l.Addr().String() + "/"
}

// taken are the addresses given out: the system may give one twice before anybody
// listens there.
var taken sync.Map

func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, twice := taken.LoadOrStore(address, true); !twice {
			return address
		}
	}
}

// log is what a process writes, to be read while it does.
type log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.buf.Bytes()
	if most := 8 << 10; len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}
