// Package natsd runs a NATS server with JetStream inside the process: the
// default when no NATS is given, and a real single-machine deployment.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// MaxPayload is the largest message the embedded server takes, in bytes: the
// largest event that can be configured, with room for headers.
const MaxPayload = 8 << 20

// ServerName is the name by which clients know an embedded server.
const ServerName = "webhooks"

// startTime bounds how long the server may take to be ready. Recovering a large
// store after a crash reads it once.
const startTime = 2 * time.Minute

// Options are the choices of a [Server].
type Options struct {
	DataDir  string         // created when missing; one process a folder
	Listen   string         // host:port; empty means no listener, in-process connections alone
	MaxStore int64          // what JetStream may store, in bytes
	Log      zerolog.Logger // the server's own warnings and errors
}

// Server is a running NATS server.
type Server struct {
	nats *server.Server
	lock *lock
	dir  string
}

// Start starts a server on a data folder and returns when it takes connections.
// The store is synced to disk before anything is acknowledged. The error says
// what to do when the folder is in use or the port is taken; see [Problem].
func Start(o Options) (*Server, error) {
	opts, err := options(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	l, err := acquire(filepath.Join(o.DataDir, "lock"))
	if err != nil {
		return nil, err
	}
	s, err := start(opts, o.Log)
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	return &Server{nats: s, lock: l, dir: o.DataDir}, nil
}

func options(o Options) (*server.Options, error) {
	opts := &server.Options{
		ServerName:        ServerName,
		JetStream:         true,
		StoreDir:          filepath.Join(o.DataDir, "nats"),
		SyncAlways:        true, // what is acknowledged survives a power cut
		JetStreamMaxStore: o.MaxStore,
		MaxPayload:        MaxPayload,
		NoSigs:            true,
		DontListen:        o.Listen == "",
	}
	if o.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: want host:port: %w", o.Listen, err)
	}
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("listen address %q: want host:port: %w", o.Listen, err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.Host = host
	return opts, probe(o.Listen)
}

// probe finds out that the port is taken before the server does, which would
// only log it and shut down.
func probe(address string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return &Problem{
			err:  fmt.Errorf("the embedded NATS server cannot listen on %s: %w", address, err),
			hint: "another NATS may be running there: use it with --nats-url nats://" + address + ", or choose another address with --listen",
		}
	}
	return l.Close()
}

func start(opts *server.Options, log zerolog.Logger) (*server.Server, error) {
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up the embedded NATS server: %w", err)
	}
	s.SetLoggerV2(logger{log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTime) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, &Problem{
			err:  fmt.Errorf("the embedded NATS server in %s was not ready after %s", opts.StoreDir, startTime),
			hint: "its log lines above say why; a full disk and a damaged store are the usual reasons",
		}
	}
	return s, nil
}

// InProcessConn makes a [Server] usable with nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// URL is where other processes connect; empty without a listener.
func (s *Server) URL() string {
	if s.nats.Addr() == nil {
		return ""
	}
	return s.nats.ClientURL()
}

// Dir is the data folder.
func (s *Server) Dir() string { return s.dir }

// Shutdown stops the server, waits until its store is closed, and gives the
// data folder free. It may never return: when a purge meets a full disk, this server
// (2.15.2) waits for a lock that it has in its own hands, and so does its stop. The
// process may end all the same, for what was acknowledged is synced, and the kernel
// gives the folder free.
func (s *Server) Shutdown() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return s.lock.release()
}

// Problem is an error with something to do about it.
type Problem struct {
	err  error
	hint string
}

// Error says what went wrong.
func (p *Problem) Error() string { return p.err.Error() }

// Hint says what to do.
func (p *Problem) Hint() string { return p.hint }

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.err }
