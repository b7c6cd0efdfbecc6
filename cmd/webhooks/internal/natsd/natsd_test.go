package natsd_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/cmd/webhooks/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir, listen string) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(natsd.Options{DataDir: dir, Listen: listen, MaxStore: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, s *natsd.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func TestWhatIsStoredSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "")
	nc, js := connect(t, s)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if nc.MaxPayload() != natsd.MaxPayload {
		t.Errorf("max_payload is %d, want %d", nc.MaxPayload(), natsd.MaxPayload)
	}
	nc.Close()
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir, "")
	defer func() { _ = s.Shutdown() }()
	nc, js = connect(t, s)
	defer nc.Close()
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := stream.GetMsg(t.Context(), 1); err != nil || string(msg.Data) != "kept" {
		t.Errorf("got %v (%v)", msg, err)
	}
}

func TestASecondServerOnTheSameFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "")
	_, err := natsd.Start(natsd.Options{DataDir: dir, MaxStore: 1 << 30})
	var p *natsd.Problem
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "in use by process") || !strings.Contains(p.Hint(), "--data-dir") {
		t.Errorf("got %v", err)
	}
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if err := start(t, dir, "").Shutdown(); err != nil {
		t.Errorf("the folder is not free after the first server's end: %v", err)
	}
}

func TestATakenPortIsSaidWithWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener that only holds its port
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = natsd.Start(natsd.Options{DataDir: t.TempDir(), Listen: l.Addr().String(), MaxStore: 1 << 30})
	var p *natsd.Problem
	if !errors.As(err, &p) || !strings.Contains(p.Hint(), "--listen") {
		t.Errorf("got %v", err)
	}
}

func TestOtherProcessesConnectToTheListener(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	defer func() { _ = s.Shutdown() }()
	nc, err := nats.Connect(s.URL(), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}
