package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestADiskThatIsFullTakesNothingUntilItIsRelieved: where no disk can be made the
// suite says NOT RUN, and so does this.
func TestADiskThatIsFullTakesNothingUntilItIsRelieved(t *testing.T) {
	at := filepath.Join(t.TempDir(), "disk")
	d, err := newDisk(at, 4<<20)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	note := filepath.Join(d.path, "note")
	if err := os.WriteFile(note, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(at); err != nil || len(names) > 0 {
		t.Errorf("something is still mounted at %s: %v %v", at, names, err)
	}
	if err := d.fill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note+"2", []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing on a full disk: %v, want no space left", err)
	}
	if err := d.relieve(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note+"2", []byte("x"), 0o600); err != nil {
		t.Errorf("writing on a disk that was relieved: %v", err)
	}
}
