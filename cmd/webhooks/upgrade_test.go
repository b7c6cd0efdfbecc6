package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
)

// TestStatusShowsBothVersionsOfARollingUpgrade builds the program as two releases
// are, and lets the newer one join and the older one leave: status shows which
// replicas there are and of what version, all the way, and every event is delivered
// once, by a version that is there.
func TestStatusShowsBothVersionsOfARollingUpgrade(t *testing.T) {
	t.Parallel() // it mostly waits
	const older, newer = "v1.8.0", "v1.9.0"
	bus := externalNATS(t, &server.Options{})
	nc := dial(t, bus)
	js, err := jetstream.New(nc)
	must(t, err)
	s := resting{&session{nc: nc, js: js}, bus.ClientURL()}
	owner := &upgradedOwner{by: map[string][]string{}}
	receiver := httptest.NewServer(owner)
	t.Cleanup(receiver.Close)
	flags := []string{"run", "--nats-url", bus.ClientURL(), "--keyring", newRing(t), "--allow-insecure-endpoints", "--admin-listen", ""}

	if _, errw, code := s.command(t, "provision"); code != exitOK {
		t.Fatal(errw)
	}
	kv, err := s.bucket(t.Context(), s.names.Endpoints())
	must(t, err)
	_, err = config.NewEditor(kv, endpoints.Lenient()).Put(t.Context(), config.Endpoint{Survey: "s1", URL: receiver.URL, Enabled: true})
	must(t, err)

	endOlder := startRelease(t, older, flags...)
	s.wantVersions(t, older)
	s.publish(t, "s1", "before")
	owner.wantBy(t, "before", older)

	startRelease(t, newer, flags...)
	s.wantVersions(t, older, newer)
	for i := range 20 {
		s.publish(t, "s1", fmt.Sprint("between-", i))
	}
	for i := range 20 {
		owner.wantBy(t, fmt.Sprint("between-", i), older, newer)
	}

	endOlder()
	s.wantVersions(t, newer)
	s.publish(t, "s1", "after")
	owner.wantBy(t, "after", newer)
}

// startRelease builds the program with a version, as releases are, and starts it. end
// has it leave, as an upgrade does, and waits until it is gone.
func startRelease(t *testing.T, version string, args ...string) (end func()) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "webhooks")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as all tests build it, so that it is compiled once
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	var log lockedBuffer
	release := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	release.Stderr = &log
	must(t, release.Start())
	end = sync.OnceFunc(func() {
		must(t, release.Process.Signal(syscall.SIGTERM))
		if err := release.Wait(); err != nil {
			t.Errorf("%s ended with: %v\n%s", version, err, log.String())
		}
	})
	t.Cleanup(end)
	return end
}

// wantVersions waits until status shows one replica of each version, and no other.
func (s resting) wantVersions(t *testing.T, want ...string) {
	t.Helper()
	within(t, func() string {
		out, errw, _ := s.command(t, "status", "--sample", "0", "--admin-listen", "")
		words, errw2, _ := s.command(t, "status", "--sample", "0", "--admin-listen", "", "--json")
		var v statusView
		if err := json.Unmarshal([]byte(words), &v); err != nil {
			return fmt.Sprintf("status does not answer: %v\n%s%s", err, errw, errw2)
		}
		var got []string
		for _, r := range v.Fleet.Replicas {
			got = append(got, r.Version)
			if !strings.Contains(out, ", version "+r.Version+", started ") {
				return "for people, status does not show version " + r.Version + ":\n" + out
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Sprintf("status shows replicas of the versions %v, want %v", got, want)
		}
		return ""
	})
}

// upgradedOwner is a receiver that looks which version of us sends.
type upgradedOwner struct {
	mu sync.Mutex // guards by
	by map[string][]string
}

func (o *upgradedOwner) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := r.Header.Get(delivery.HeaderDelivery)
	o.by[id] = append(o.by[id], strings.TrimPrefix(r.UserAgent(), "Popsee-Webhooks/"))
}

// wantBy waits until an event has come, and wants it to have come once, from one of
// some versions.
func (o *upgradedOwner) wantBy(t *testing.T, id string, versions ...string) {
	t.Helper()
	within(t, func() string {
		o.mu.Lock()
		defer o.mu.Unlock()
		if by := o.by[id]; len(by) != 1 || !slices.Contains(versions, by[0]) {
			return fmt.Sprintf("event %s came from the versions %v, want it once from one of %v", id, by, versions)
		}
		return ""
	})
}
