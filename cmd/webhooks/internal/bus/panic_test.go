package bus_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
	"github.com/popsee/webhooks/delivery/panics/panicstest"
)

const plantedPassword = "planted-nats-password"

// brokenLog panics at every line.
type brokenLog struct{}

func (brokenLog) Write([]byte) (int, error) { panic("with " + plantedPassword) }

// record is a log to read while it is written.
type record struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// wantTold waits until something is told.
func (r *record) wantTold(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(r.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not told:\n%s", text, r.String())
		}
	}
}

// TestAPanicInWhatTheClientCallsIsSurvived goes through everything that the client calls,
// each time with a panic: it calls from a goroutine of its own, where the panic would end
// the process and be printed.
func TestAPanicInWhatTheClientCallsIsSurvived(t *testing.T) {
	options := func(port int) server.Options {
		return server.Options{Port: port, Users: []*server.User{{
			Username: "me", Password: plantedPassword, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"denied"}}},
		}}}
	}
	s := serve(t, options(0))
	port := s.Addr().(*net.TCPAddr).Port
	var told record
	reg := prometheus.NewRegistry()
	nc, err := bus.Connect(config.NATSSettings{URL: s.ClientURL(), User: "me", Password: plantedPassword}, bus.Options{
		Name: "test", Log: zerolog.New(brokenLog{}), Panics: panics.New(zerolog.New(&told), reg), Closed: closedWith,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("denied", nil); err != nil {
		t.Fatal(err)
	}
	told.wantTold(t, "(*teller).trouble")
	back := nc.StatusChanged(nats.CONNECTED)
	s.Shutdown()
	s.WaitForShutdown()
	told.wantTold(t, "(*teller).lost")
	serve(t, options(port))
	<-back
	told.wantTold(t, "(*teller).back")
	nc.Close()
	told.wantTold(t, "closedWith")
	if n := panicstest.Survived(t, reg, panics.PlaceChange); n < 4 {
		t.Errorf("%v panics are counted", n)
	}
	leaktest.Plant(t, plantedPassword).In(t, "what is told", []byte(told.String()))
}

func closedWith(error) { panic("with " + plantedPassword) }
