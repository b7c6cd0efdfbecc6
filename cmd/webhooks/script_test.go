package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/hostiletest"
	"github.com/popsee/webhooks/events"
)

// TestMain makes the program a command of the scripts.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http prints there what hostile receivers send unasked, and can be told nothing else
	if hostiletest.ServeApart() {
		return
	}
	testscript.Main(leakChecked{m}, map[string]func(){
		"webhooks": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(int(code))
		},
	})
}

// leakChecked fails a run that leaves goroutines behind.
type leakChecked struct{ *testing.M }

// Run implements testscript.TestingM.
func (l leakChecked) Run() int {
	if code := l.M.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestScripts runs testdata/script. Every script has ports of its own in NATS,
// ADMIN and HOOK, and the commands wait-for, wait-ready,
// wait-settled, wait-attempts, wait-letters, wait-health, wait-leases, wait-metric, wait-replays, replay-id,
// raw-publish, raw-delete, raw-purge, raw-delete-stream, key, build-nats-server and wait-alarm.
func TestScripts(t *testing.T) {
	ports := newPorts()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"NATS", "ADMIN", "HOOK"} {
				port, err := ports.free()
				if err != nil {
					return err
				}
				e.Setenv(name, port)
			}
			e.Setenv("NO_COLOR", "1")
			return withoutLineEnd(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"wait-for":          waitFor,
			"wait-ready":        waitReady,
			"wait-settled":      waitSettledTo,
			"wait-attempts":     waitAttempts,
			"wait-delivered":    waitDelivered,
			"wait-letters":      waitLetters,
			"wait-health":       waitHealth,
			"raw-publish":       rawPublish,
			"raw-delete":        rawDelete,
			"raw-purge":         rawPurge,
			"raw-delete-stream": rawDeleteStream,
			"wait-leases":       waitLeases,
			"wait-replays":      waitReplays,
			"replay-id":         replayID,
			"build-nats-server": buildNATSServer,
			"wait-alarm":        waitAlarm,
			"key":               firstKey,
			"wait-metric":       waitMetric,
		},
	})
}

// withoutLineEnd gives a script that has a body.json the same bytes without the
// line end that a file in a script cannot lack.
func withoutLineEnd(dir string) error {
	body, err := os.ReadFile(filepath.Join(dir, "body.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "exact.json"), bytes.TrimSuffix(body, []byte("\n")), 0o600))
}

// ports gives away each port once. They lie below those that the system gives to
// connections, of which one may be taken between being found free and being used,
// and between those that webhooks are not sent to.
type ports struct{ last atomic.Uint32 }

const (
	lowestPort = 16_000
	portCount  = 10_000
)

// newPorts begins elsewhere in every process: tests of several run side by side.
func newPorts() *ports {
	p := &ports{}
	p.last.Store(rand.Uint32N(portCount)) //nolint:gosec // no secret
	return p
}

func (p *ports) free() (string, error) {
	for range portCount {
		address := fmt.Sprintf("127.0.0.1:%d", lowestPort+p.last.Add(1)%portCount)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			continue // somebody else's
		}
		return address, l.Close()
	}
	return "", errors.New("no port is free")
}

// patience is how long a script waits for what a process in its background
// should do within milliseconds.
const patience = 30 * time.Second

// waitFor waits until something listens on an address.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", args[0])
		if (err == nil) != neg {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err == nil {
			_ = c.Close()
		}
	}
	ts.Fatalf("%s: nothing listens after %s", args[0], patience)
}

// waitReady waits until the service behind an admin address delivers.
func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ready(args[0]) {
			return
		}
	}
	ts.Fatalf("the service at %s is not ready after %s", args[0], patience)
}

func ready(admin string) bool {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// firstKey puts the id of the first key that keys list --json has printed into a
// variable.
func firstKey(ts *testscript.TestScript, _ bool, args []string) {
	var first struct{ ID string }
	ts.Check(json.NewDecoder(strings.NewReader(ts.ReadFile(args[0]))).Decode(&first))
	ts.Setenv(args[1], first.ID)
}

// waitMetric waits until the service behind an admin address shows a line in its
// metrics; negated, until it does not.
func waitMetric(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+args[0]+"/metrics", nil)
		ts.Check(err)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		ts.Check(err)
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		ts.Check(err)
		if strings.Contains(string(text), args[1]) != neg {
			return
		}
	}
	ts.Fatalf("the metrics of %s do not come to what is wanted of %s within %s", args[0], args[1], patience)
}

// rawPublish publishes bytes as they are, as a publisher in another language may.
func rawPublish(ts *testscript.TestScript, _ bool, args []string) {
	nc, err := nats.Connect("nats://" + args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	_, err = js.Publish(context.Background(), args[1], []byte(args[2]))
	ts.Check(err)
}

// rawDelete takes a message out of a stream, behind everybody's back; last means
// the last one.
func rawDelete(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	stream, err := js.Stream(context.Background(), args[1])
	ts.Check(err)
	seq := stream.CachedInfo().State.LastSeq
	if args[2] != "last" {
		_, err := fmt.Sscan(args[2], &seq)
		ts.Check(err)
	}
	ts.Check(stream.DeleteMsg(context.Background(), seq))
}

// rawPurge takes everything out of a stream, as limits do.
func rawPurge(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	stream, err := js.Stream(context.Background(), args[1])
	ts.Check(err)
	ts.Check(stream.Purge(context.Background()))
}

// rawDeleteStream deletes a stream, as somebody does by mistake.
func rawDeleteStream(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	ts.Check(js.DeleteStream(context.Background(), args[1]))
}

// waitLeases waits until every shard has an owner.
func waitLeases(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		p, err := leases.Look(context.Background(), js, events.Names{})
		ts.Check(err)
		if len(p.Free(events.Names{})) == 0 {
			return
		}
	}
	ts.Fatalf("shards have no owner after %s", patience)
}

// waitAttempts waits until the delivery log holds so many attempts.
func waitAttempts(ts *testscript.TestScript, _ bool, args []string) {
	nc, err := nats.Connect("nats://" + args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		n := 0
		for _, err := range deliverylog.Read(context.Background(), js, events.Names{}, deliverylog.Filter{Kinds: []deliverylog.Kind{deliverylog.KindAttempt}}) {
			ts.Check(err)
			n++
		}
		if fmt.Sprint(n) == args[1] {
			return
		}
	}
	ts.Fatalf("the delivery log does not hold %s attempts after %s", args[1], patience)
}

// waitDelivered waits until the delivery log tells of so many 2xx, and no copy waits
// in a lane.
func waitDelivered(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		n := 0
		for _, err := range deliverylog.Read(context.Background(), js, events.Names{}, deliverylog.Filter{Verdict: delivery.Delivered}) {
			ts.Check(err)
			n++
		}
		lanes, err := js.Stream(context.Background(), events.Names{}.Lanes())
		ts.Check(err)
		if fmt.Sprint(n) == args[1] && lanes.CachedInfo().State.Msgs == 0 {
			return
		}
	}
	ts.Fatalf("%s events are not delivered and gone from the lanes after %s", args[1], patience)
}

// waitLetters waits until there are so many dead letters.
func waitLetters(ts *testscript.TestScript, _ bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		tally, err := deadletters.New(js, events.Names{}).Count(context.Background(), deadletters.Filter{})
		ts.Check(err)
		if fmt.Sprint(tally.Letters) == args[1] {
			return
		}
	}
	ts.Fatalf("there are not %s dead letters after %s", args[1], patience)
}

// waitHealth waits until something is known of a survey's endpoint: failing,
// disabled, or owed; negated, until it is not.
func waitHealth(ts *testscript.TestScript, neg bool, args []string) {
	js, end := scriptJetStream(ts, args[0])
	defer end()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		r, _, err := health.Look(context.Background(), js, events.Names{}, events.Survey(args[1]))
		ts.Check(err)
		if is := map[string]bool{"failing": r.Failing(), "disabled": r.Disabled != nil, "owed": r.OwedFrom != 0}; is[args[2]] != neg {
			return
		}
	}
	ts.Fatalf("survey %s is not as it should be (%s, negated: %v) after %s", args[1], args[2], neg, patience)
}

func scriptJetStream(ts *testscript.TestScript, address string) (js jetstream.JetStream, end func()) {
	nc, err := nats.Connect("nats://" + address)
	ts.Check(err)
	js, err = jetstream.New(nc)
	ts.Check(err)
	return js, nc.Close
}

// waitSettledTo waits until the service has settled every event up to a sequence.
func waitSettledTo(ts *testscript.TestScript, _ bool, args []string) {
	nc, err := nats.Connect("nats://" + args[0])
	ts.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c, err := js.Consumer(context.Background(), "RESPONSES", "webhooks")
		ts.Check(err)
		if fmt.Sprint(c.CachedInfo().AckFloor.Stream) == args[1] {
			return
		}
	}
	ts.Fatalf("not settled to %s after %s", args[1], patience)
}
