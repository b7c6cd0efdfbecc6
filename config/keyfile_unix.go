//go:build unix

package config

import (
	"fmt"
	"os"
	"syscall"
)

// checkPrivate refuses a key ring that others can read. A group may read a file
// of somebody else: that is how a secret store hands a file to a process that
// does not own it.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open key ring: %w", err)
	}
	forbidden := os.FileMode(0o077)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		forbidden = 0o037
	}
	if info.Mode().Perm()&forbidden == 0 {
		return nil
	}
	return withHint(fmt.Errorf("key ring %s can be read by others (mode %04o)", f.Name(), info.Mode().Perm()), "chmod 600 "+f.Name())
}

// syncDir makes the name of a new file durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer func() { _ = d.Close() }() // it was only synced
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
