package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/cmd/webhooks/internal/natsd"
	"github.com/popsee/webhooks/config"
)

// openOffline opens the data folder of a service that is stopped, with a server of its
// own that nobody else can reach, whatever NATS is named. With fresh the folder may be a
// new one.
func openOffline(s config.Settings, fresh bool) (*session, func() error, error) {
	names, err := s.Bus.Names()
	if err != nil {
		return nil, nil, usage{err}
	}
	dir := s.Embedded.DataDir
	if _, err := os.Stat(filepath.Join(dir, "nats")); errors.Is(err, fs.ErrNotExist) && !fresh {
		return nil, nil, withHint("give the folder of the service with --data-dir", "the data folder %s holds no NATS store", dir)
	}
	server, err := natsd.Start(natsd.Options{DataDir: dir, MaxStore: int64(s.Embedded.MaxStore), Log: zerolog.Nop()})
	if err != nil {
		return nil, nil, err
	}
	nc, err := bus.Connect(s.NATS, bus.Options{Name: "webhooks command line", Log: zerolog.Nop(), InProcess: server})
	if err != nil {
		return nil, nil, errors.Join(err, server.Shutdown())
	}
	end := func() error {
		nc.Close()
		return server.Shutdown()
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open JetStream: %w", err), end())
	}
	return &session{nc: nc, js: js, names: names}, end, nil
}

// openWhole opens the bus that settings name, or with offline a data folder.
func openWhole(w *world, s config.Settings, offline, fresh bool) (*session, func() error, error) {
	if offline {
		return openOffline(s, fresh)
	}
	o, err := connection{NATS: s.NATS, Prefix: s.Bus.Prefix}.open(w)
	if err != nil {
		return nil, nil, err
	}
	return o, func() error { o.close(); return nil }, nil
}
