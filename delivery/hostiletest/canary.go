package hostiletest

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// Canary is a listener nothing may reach: a connection to it that nobody asked for
// with Touched fails the test when it ends.
type Canary struct {
	Addr    netip.AddrPort
	touched atomic.Int64
}

// NewCanary listens at an address until the test ends.
func NewCanary(t testing.TB, address string) *Canary {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &Canary{Addr: netip.MustParseAddrPort(l.Addr().String())}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.touched.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		c.Untouched(t)
		l.Close()
		<-done
	})
	return c
}

// Untouched fails the test if anything has connected since the canary was last asked.
// It connects by itself and waits for that: connections are accepted in order, so
// that none is still on its way unseen.
func (c *Canary) Untouched(t testing.TB) {
	t.Helper()
	if n := c.count(t); n != 0 {
		t.Errorf("the canary at %s was touched %d times", c.Addr, n)
	}
}

// Touched is the positive control: it fails the test if nothing has connected since
// the canary was last asked, for then its silence would show nothing.
func (c *Canary) Touched(t testing.TB) {
	t.Helper()
	if c.count(t) == 0 {
		t.Errorf("nothing has touched the canary at %s, though the way was open: its silence shows nothing", c.Addr)
	}
}

// count gives the connections of others since the last time, and begins anew.
func (c *Canary) count(t testing.TB) int64 {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr.String()) //nolint:noctx // the test's own context is over in its cleanup
	if err != nil {
		t.Errorf("the canary at %s does not listen: %v", c.Addr, err)
		return 0
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Read(make([]byte, 1)) // it is closed when it was counted
	return c.touched.Swap(0) - 1
}
