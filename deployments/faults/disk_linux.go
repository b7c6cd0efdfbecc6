package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// mount mounts a file system in memory of so many bytes.
func mount(at string, bytes int64) error {
	return syscall.Mount("faults", at, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
}

// hold takes a disk by the folder that it is mounted on.
func hold(folder *os.File) *disk {
	return &disk{folder: folder, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), folder.Fd())}
}

// mountHere makes a disk where root may mount one. It is taken away at once from where
// it was mounted.
func mountHere(at string, bytes int64) (*disk, error) {
	if err := mount(at, bytes); err != nil {
		return nil, fmt.Errorf("mount it: %w", err)
	}
	folder, err := os.Open(at)
	if away := syscall.Unmount(at, syscall.MNT_DETACH); err != nil || away != nil {
		return nil, fmt.Errorf("hold what was mounted: %w", errors.Join(err, away))
	}
	return hold(folder), nil
}

// holder is what this program is called when it is started to mount a disk for another
// one.
const holder = "faults-holds-a-disk"

// mountApart makes a disk where everybody may be root of a user namespace. A process in
// one mounts it, and lives until this one has opened it through /proc. It must be a
// process of its own: one with several threads cannot enter another user namespace.
func mountApart(at string, bytes int64) (*disk, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program, Args: []string{holder, at, strconv.FormatInt(bytes, 10)}, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
		},
	}
	until, err1 := cmd.StdinPipe()
	mounted, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace to mount it in: %w", err)
	}
	var folder *os.File
	if _, err = mounted.Read(make([]byte, 1)); err == nil { // or it has ended
		folder, err = os.Open(fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, at))
	}
	until.Close()
	ended := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(ended, &exit) {
		return nil, fmt.Errorf("mount it in a user namespace: %w", syscall.Errno(exit.ExitCode()))
	}
	if err := errors.Join(err, ended); err != nil {
		return nil, fmt.Errorf("hold what was mounted in a user namespace: %w", err)
	}
	return hold(folder), nil
}

// holdDisk mounts a disk when this process was started by mountApart, and ends with the
// error number when it cannot, or when its input ends.
func holdDisk() {
	if os.Args[0] != holder {
		return
	}
	bytes, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err == nil {
		err = mount(os.Args[1], bytes)
	}
	if err != nil {
		errno := syscall.EINVAL
		errors.As(err, &errno)
		os.Exit(int(errno))
	}
	fmt.Print(".")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
