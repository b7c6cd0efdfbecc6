package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// newDisk makes a disk of so many bytes in memory. Its place among the files is only
// lent: it is taken away at once, and the kernel keeps the disk for as long as this
// process holds it, so that nothing stays mounted however this ends.
func newDisk(at string, bytes int64) (*disk, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mount("faults", at, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		return nil, fmt.Errorf("mount a small disk (run it as root, where mounting is allowed): %w", err)
	}
	folder, err := os.Open(at)
	if away := syscall.Unmount(at, syscall.MNT_DETACH); err != nil || away != nil {
		return nil, fmt.Errorf("hold the small disk: %w", errors.Join(err, away))
	}
	return &disk{folder: folder, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), folder.Fd())}, nil
}
