package hostiletest

import (
	"net/netip"
	"syscall"
	"testing"
)

// listenDeaf listens until the test ends, and never accepts: what the system would keep
// for it is full already, so that whoever connects waits, and is told nothing.
func listenDeaf(t testing.TB) netip.AddrPort {
	t.Helper()
	here := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	l := socket(t)
	if err := syscall.Bind(l, here); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(l, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	here.Port = name.(*syscall.SockaddrInet4).Port
	for range 4 { // one more than a queue of none holds, and some
		c := socket(t)
		if err := syscall.SetNonblock(c, true); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Connect(c, here) // it is under way, or there is no room any more
	}
	return netip.AddrPortFrom(netip.AddrFrom4(here.Addr), uint16(here.Port))
}

func socket(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	return fd
}
