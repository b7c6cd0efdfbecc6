package consumer_test

import (
	"net"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// door is the way in to whichever server the world runs now, so that clients
// find the restarted one.
type door struct{ server atomic.Pointer[server.Server] }

// InProcessConn connects to the current server.
func (d *door) InProcessConn() (net.Conn, error) {
	s := d.server.Load()
	if s == nil || !s.Running() {
		return nil, server.ErrServerNotRunning
	}
	return s.InProcessConn()
}
