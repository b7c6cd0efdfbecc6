// Package bustest gives tests a real NATS server: in a synctest bubble or out of
// it, restarted under its clients, reached over a wire that can be cut.
package bustest

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxStore bounds what a test's server may keep, in bytes.
const maxStore = 4 << 30

// syncEvery is how often a test's server syncs its files. In a story of days it would
// do so thousands of times, and on a real disk; no test takes the disk away from under
// a server.
const syncEvery = 24 * time.Hour

// flushTime is for how long at most what writes a stream's file sleeps for more to come,
// also when the server has ended. In a bubble it must not be left behind.
const flushTime = 10 * time.Millisecond

// Server is a real JetStream server in the test's process. Clients find the one
// that runs now, so that a reconnect finds the restarted one.
type Server struct {
	t       testing.TB
	o       server.Options
	current atomic.Pointer[server.Server]
	wire    *Wire // nil: the way to the server cannot be cut
}

// New starts a server without a listener, on a folder of its own. o is the zero
// value, or what a test needs besides. It is the test's to [Server.Halt]; out of
// a bubble [Start] does that by itself.
func New(t testing.TB, o server.Options) *Server {
	t.Helper()
	EmptyPools()
	o.JetStream, o.DontListen, o.NoSigs, o.NoLog = true, true, true, true
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = syncEvery
	}
	if o.JetStreamMaxStore == 0 {
		o.JetStreamMaxStore = maxStore
	}
	s := &Server{t: t, o: o}
	s.Boot()
	return s
}

// Boot starts the server on its folder again, after a [Server.Halt].
func (s *Server) Boot() {
	s.t.Helper()
	o := s.o
	running, err := server.NewServer(&o)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the server did not start")
	}
	s.current.Store(running)
}

// Halt stops the server and waits until its store is closed. Clients stay.
func (s *Server) Halt() {
	running := s.current.Load()
	running.Shutdown()
	running.WaitForShutdown()
	time.Sleep(flushTime)
}

// Dir is where the server keeps its store.
func (s *Server) Dir() string { return s.o.StoreDir }

// Over puts a wire between the server and the clients that connect from now on.
func (s *Server) Over(w *Wire) { s.wire = w }

// InProcessConn connects to whichever server runs now; it makes a [Server]
// usable with nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) { return s.dial(s.wire) }

func (s *Server) dial(w *Wire) (net.Conn, error) {
	running := s.current.Load()
	if running == nil || !running.Running() {
		return nil, server.ErrServerNotRunning
	}
	c, err := running.InProcessConn()
	if err != nil || w == nil {
		return c, err
	}
	return wired{c, w}, nil
}

// path is one client's own way to the server.
type path struct {
	s *Server
	w *Wire
}

// InProcessConn connects over the client's own wire.
func (p path) InProcessConn() (net.Conn, error) { return p.s.dial(p.w) }

// Connect connects as the service does: it never gives up, and says at once what
// could not be sent. The connection is the test's to close.
func (s *Server) Connect(more ...nats.Option) *nats.Conn {
	s.t.Helper()
	return s.ConnectOver(s.wire, more...)
}

// ConnectOver is [Server.Connect] for one client with a wire of its own, which it
// keeps when it reconnects.
func (s *Server) ConnectOver(w *Wire, more ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("", append([]nats.Option{
		nats.InProcessServer(path{s, w}), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectBufSize(-1), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, more...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return nc
}

// Start starts a server for a test on real time and connects to it; both end
// with the test.
func Start(t testing.TB) jetstream.JetStream {
	t.Helper()
	s := New(t, server.Options{})
	t.Cleanup(s.Halt)
	nc := s.Connect()
	t.Cleanup(nc.Close)
	return JetStream(t, nc)
}

// JetStream opens JetStream on a connection.
func JetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// EmptyPools makes the NATS client forget the timers it keeps for all
// connections of the process: one that was made in another bubble would be the
// death of this one.
func EmptyPools() {
	runtime.GC() // what is pooled becomes the victim of
	runtime.GC() // the next collection
}
