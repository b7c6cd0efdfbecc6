package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// maySkipDisk is the suite's own switch, for where no disk can be made.
const maySkipDisk = "FAULTS_MAY_SKIP_DISK"

// TestADiskThatIsFullTakesNothingUntilItIsRelieved tries each way to make one. Where one
// is not allowed the other is there for it; where neither is, the suite cannot hold what
// it promises of full disks, and this says so.
func TestADiskThatIsFullTakesNothingUntilItIsRelieved(t *testing.T) {
	made := 0
	for name, way := range map[string]func(string, int64) (*disk, error){"mounted here": mountHere, "mounted in a user namespace": mountApart, "as the suite does": newDisk} {
		t.Run(name, func(t *testing.T) {
			at := filepath.Join(t.TempDir(), "disk")
			if err := os.Mkdir(at, 0o700); err != nil {
				t.Fatal(err)
			}
			d, err := way(at, 4<<20)
			if notAllowed(err) {
				t.Logf("NOT RUN: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.close)
			made++
			wantADisk(t, d, at)
		})
	}
	if made == 0 && os.Getenv(maySkipDisk) != "true" {
		t.Errorf("NOT RUN: no disk can be made here; as root, or where user namespaces are allowed, it can; %s=true leaves it out", maySkipDisk)
	}
}

// notAllowed says whether a disk cannot be made for want of a right, of room for
// namespaces, or of Linux.
func notAllowed(err error) bool {
	return errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EUSERS)
}

func wantADisk(t *testing.T, d *disk, at string) {
	t.Helper()
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
