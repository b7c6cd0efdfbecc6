package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// disk is a small file system, so that one can be full without harm to anybody's.
type disk struct {
	folder *os.File // holds it: what is on it is gone when this process ends
	path   string   // by which every process of this user reaches it
}

// newDisk makes a disk of so many bytes in memory. Its place among the files is only
// lent: the kernel keeps the disk for as long as this process holds it, so that nothing
// stays mounted however this ends.
func newDisk(at string, bytes int64) (*disk, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	mounted, err := mountHere(at, bytes)
	if err == nil {
		return mounted, nil
	}
	apart, errApart := mountApart(at, bytes)
	if errApart == nil {
		return apart, nil
	}
	return nil, fmt.Errorf("make a small disk: %w (that needs root), %w", err, errApart)
}

// ballastFile takes the room on a disk.
const ballastFile = "ballast"

// fill leaves no room on it.
func (d *disk) fill() error {
	f, err := os.OpenFile(filepath.Join(d.path, ballastFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// Small pieces in the end: the last page is to be taken as well.
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(fmt.Errorf("fill the disk: %w", err), f.Close())
		}
		err = nil
	}
	return f.Close()
}

// relieve makes room again.
func (d *disk) relieve() error {
	err := os.Remove(filepath.Join(d.path, ballastFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// fullFor is how long a disk is full.
const fullFor = 5 * time.Second

// fillNodesDisk fills the disk under a node, whose server then switches JetStream off;
// an operator makes room and starts it again.
func (s *suite) fillNodesDisk(ctx context.Context) error {
	leader, err := s.leader(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	err = s.full(ctx)
	unkept := stretch{began, time.Now()}
	s.breaking.laneless = append(s.breaking.laneless, unkept)
	if leader == onSmallDisk {
		s.breaking.ackless = append(s.breaking.ackless, unkept)
	}
	if err != nil {
		return err
	}
	return s.rollNode(ctx, onSmallDisk, syscall.SIGTERM)
}

// fillDisk fills the disk under a single machine. Nothing is accepted any more, and
// nothing is delivered, until an operator has made room and started it again: it
// must end in time although its server answers no write any more.
func (s *suite) fillDisk(ctx context.Context) error {
	began := time.Now()
	if err := s.full(ctx); err != nil {
		return err
	}
	err := s.roll(ctx, endedOK, endedFailure, endedUnreachable)
	s.breaking.ackless = append(s.breaking.ackless, stretch{began, time.Now()})
	return err
}

// full fills the small disk for a while.
func (s *suite) full(ctx context.Context) error {
	s.fault()
	if err := s.small.fill(); err != nil {
		return err
	}
	return errors.Join(process.Sleep(ctx, fullFor), s.small.relieve())
}

func (d *disk) close() {
	if d != nil {
		d.folder.Close()
	}
}
