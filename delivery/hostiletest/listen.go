package hostiletest

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// Listen serves every connection to a new port of this machine with serve, until the
// test ends and with it every connection.
func Listen(t testing.TB, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{open: map[net.Conn]bool{}}
	h.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.serving.Go(func() { h.serve(c, serve) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		h.close()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// house is what one listener has under its roof.
type house struct {
	serving sync.WaitGroup

	mu     sync.Mutex // guards the rest
	open   map[net.Conn]bool
	closed bool
}

func (h *house) serve(c net.Conn, serve func(net.Conn)) {
	defer c.Close()
	if !h.enter(c) {
		return
	}
	serve(c)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c)
}

func (h *house) enter(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[c] = true
	return !h.closed
}

func (h *house) close() {
	h.mu.Lock()
	h.closed = true
	for c := range h.open {
		c.Close()
	}
	h.mu.Unlock()
	h.serving.Wait()
}
