//go:build unix

package delivery

import (
	"errors"
	"net"
	"syscall"
)

// stillness asks a kept connection whether anything has come on it. Nothing should: an answer that nobody asked for would
// be taken for that of the next event, and the end of the connection is noticed here before an event is lost on it.
type stillness struct {
	raw   syscall.RawConn // nil for a connection in memory, which cannot be asked
	look  func(uintptr) bool
	still bool
}

func stillnessOf(c net.Conn) *stillness {
	s := new(stillness)
	if socket, ok := c.(syscall.Conn); ok {
		s.raw, _ = socket.SyscallConn()
	}
	s.look = func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		s.still = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
		return true // whatever it was: nobody waits for more
	}
	return s
}

// holds is asked by the connection's one user.
func (s *stillness) holds() bool {
	if s.raw == nil {
		return true
	}
	s.still = false
	return s.raw.Read(s.look) == nil && s.still
}
