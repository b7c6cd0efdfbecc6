package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/deployments/internal/process"
)

// servers are NATS alone: one server, or a cluster of several, in a temporary folder.
type servers struct {
	setup

	dir       string
	url       string // names them all
	processes []*process.Process
	nc        *nats.Conn
	js        jetstream.JetStream
}

// openServers starts n of them. They are to be closed.
func openServers(ctx context.Context, o setup, n int) (*servers, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	s := &servers{setup: o, dir: dir}
	for _, step := range []func() error{
		func() error { return s.start(ctx, n) },
		func() error { return s.connect(ctx) },
	} {
		if err := step(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// close ends the servers and removes the folder. They are ended all at once: of a
// cluster, the last ones would wait for those that are gone.
func (s *servers) close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	for _, p := range s.processes {
		p.Kill()
	}
	if s.keep {
		fmt.Fprintln(os.Stderr, "kept:", s.dir)
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (s *servers) start(ctx context.Context, n int) error {
	clients, routes := make([]string, n), make([]string, n)
	for i := range n {
		client, err1 := process.FreePort(ctx)
		route, err2 := process.FreePort(ctx)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		clients[i], routes[i] = fmt.Sprintf("127.0.0.1:%d", client), fmt.Sprintf("127.0.0.1:%d", route)
	}
	s.url = "nats://" + strings.Join(clients, ",nats://")
	for i := range n {
		name := fmt.Sprint("nats-server-", i)
		conf := fmt.Sprintf("server_name: %s\nlisten: %q\nmax_payload: 8MB\njetstream { store_dir: %q, max_file_store: 20GB, sync_interval: %s }\n",
			name, clients[i], filepath.Join(s.dir, name), s.sync)
		if n > 1 {
			conf += fmt.Sprintf("cluster { name: bench, listen: %q, routes: [\"nats-route://%s\"] }\n", routes[i], strings.Join(routes, `", "nats-route://`))
		}
		path := filepath.Join(s.dir, name+".conf")
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			return err
		}
		p, err := process.Start(s.dir, name, filepath.Join(s.bin, "nats-server"), nil, "-c", path)
		if err != nil {
			return err
		}
		s.processes = append(s.processes, p)
	}
	return nil
}

// startTime is how long servers may take until they know each other.
const startTime = 30 * time.Second

func (s *servers) connect(ctx context.Context) (err error) {
	err = process.Until(ctx, startTime, func() (err error) {
		s.nc, err = nats.Connect(s.url)
		return err
	})
	if err != nil {
		return fmt.Errorf("connect to NATS: %w: %s", err, s.processes[0].LastWords())
	}
	s.js, err = jetstream.New(s.nc)
	return err
}

// makeStream makes the event stream as a platform would that owns it, open to atomic
// batches. A cluster that has just started has no leader, and then too few servers.
func (s *servers) makeStream(ctx context.Context, l layout.Layout) error {
	cfg := l.Events()
	cfg.AllowAtomicPublish = true
	err := process.Until(ctx, startTime, func() error {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := s.js.CreateStream(asking, cfg)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the event stream: %w: %s", err, s.processes[0].LastWords())
	}
	return nil
}

// streamState asks the stream's leader what it holds.
func (s *servers) streamState(ctx context.Context) (jetstream.StreamState, error) {
	stream, err := s.js.Stream(ctx, eventStream)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("look at the event stream: %w", err)
	}
	return stream.CachedInfo().State, nil
}

// cpu is what all servers have used.
func (s *servers) cpu() (sum time.Duration, err error) {
	for _, p := range s.processes {
		u, err := p.Usage()
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}
