package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

const bucket = "webhook_endpoints"

func TestMain(m *testing.M) {
	ats.Register() // the server's access-time ticker must not begin inside a bubble
	code := m.Run()
	ats.Unregister()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// world is a real NATS server with an endpoint bucket, and a key ring.
type world struct {
	t    testing.TB
	srv  atomic.Pointer[server.Server] // nil while it is down
	opts *server.Options
	nc   *nats.Conn
	js   jetstream.JetStream
	kv   jetstream.KeyValue
	keys *config.Keyring
	log  *logged
}

// inBubble runs a story on fake time.
func inBubble(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	// The NATS client pools timers for the whole process; one from an earlier
	// bubble would be the death of this one. Two collections empty the pool.
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) { story(t, newWorld(t)) })
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, keys: newRing(t), log: &logged{}}
	w.opts = &server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true, ServerName: "test"}
	w.start()
	t.Cleanup(w.stop)
	w.nc, w.js = w.connect(100 * time.Millisecond)
	w.makeBucket()
	return w
}

func (w *world) connect(reconnectWait time.Duration) (*nats.Conn, jetstream.JetStream) {
	w.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(inProcess{w}), nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what it would print is what the tests provoke
	check(w.t, err)
	w.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	check(w.t, err)
	return nc, js
}

// inProcess connects to whichever server the world has now, so that a client
// survives a restart.
type inProcess struct{ w *world }

// InProcessConn fails while the server is down.
func (p inProcess) InProcessConn() (net.Conn, error) {
	srv := p.w.srv.Load()
	if srv == nil {
		return nil, errors.New("the server is down")
	}
	return srv.InProcessConn()
}

func (w *world) start() {
	w.t.Helper()
	srv, err := server.NewServer(w.opts)
	check(w.t, err)
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		w.t.Fatal("server is not ready")
	}
	w.srv.Store(srv)
}

func (w *world) stop() {
	if srv := w.srv.Swap(nil); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// makeBucket tries again where the server still removes the files of the bucket
// that was there before.
func (w *world) makeBucket() {
	w.t.Helper()
	var err error
	for range 100 {
		w.kv, err = w.js.CreateKeyValue(w.t.Context(), jetstream.KeyValueConfig{Bucket: bucket, History: 8})
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != storeFailed {
			break
		}
		synctest.Wait()
	}
	check(w.t, err)
}

const storeFailed = 10049 // the server's "error creating store for stream"

func (w *world) deleteBucket() {
	w.t.Helper()
	check(w.t, w.js.DeleteKeyValue(w.t.Context(), bucket))
}

func (w *world) open() *config.Store {
	w.t.Helper()
	return w.openWith(options{})
}

type options struct {
	config.StoreOptions
	js jetstream.JetStream // another connection than the world's
}

func (w *world) openWith(o options) *config.Store {
	w.t.Helper()
	if o.Keys == nil {
		o.Keys = w.keys
	}
	o.Log = zerolog.New(w.log)
	js := w.js
	if o.js != nil {
		js = o.js
	}
	s, err := config.Open(w.t.Context(), js, bucket, o.StoreOptions)
	check(w.t, err)
	w.t.Cleanup(s.Close)
	return s
}

// put writes an endpoint as the survey platform would.
func (w *world) put(survey events.Survey, change ...func(*config.Endpoint)) config.Endpoint {
	w.t.Helper()
	ed := config.NewEditor(w.kv, delivery.Rules{})
	e := w.endpoint(survey)
	for _, c := range change {
		c(&e)
	}
	if e.Revision == 0 {
		if old, err := ed.Get(w.t.Context(), survey); err == nil {
			e.Revision = old.Revision
		}
	}
	e, err := ed.Put(w.t.Context(), e)
	check(w.t, err)
	return e
}

func (w *world) remove(survey events.Survey) {
	w.t.Helper()
	check(w.t, config.NewEditor(w.kv, delivery.Rules{}).Remove(w.t.Context(), survey, 0))
}

func (w *world) endpoint(survey events.Survey) config.Endpoint {
	w.t.Helper()
	return config.Endpoint{
		Survey: survey, URL: "https://hooks.example.com/" + string(survey), Enabled: true,
		Secrets: []config.SealedSecret{sealed(w.t, w.keys, survey, plainSecret)},
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

const plainSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func newRing(t testing.TB) *config.Keyring {
	t.Helper()
	key, err := config.GenerateKey()
	check(t, err)
	ring, err := config.NewKeyring(key)
	check(t, err)
	return ring
}

func sealed(t testing.TB, ring config.Sealer, survey events.Survey, plain string) config.SealedSecret {
	t.Helper()
	secret, err := delivery.NewSecret(plain)
	check(t, err)
	s, err := ring.Seal(survey, secret)
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within waits, on fake time, until a condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		synctest.Wait()
		if holds() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// wantHost checks where a survey's events go; "" is nowhere.
func wantHost(t *testing.T, s *config.Store, survey events.Survey, want string) {
	t.Helper()
	if got := hostOf(t, s, survey); got != want {
		t.Errorf("survey %s goes to %q, want %q", survey, got, want)
	}
}

func hostOf(t *testing.T, s *config.Store, survey events.Survey) string {
	t.Helper()
	target, _, err := s.Target(context.Background(), survey)
	if err != nil {
		return "" // tests that care which error it is ask for it
	}
	return target.Host()
}
