package hostiletest

import (
	"crypto/tls"
	"io"
	"net"
)

// Resets ends a TCP connection with an RST, not a FIN, when serve is done with it:
// nothing that was not sent yet is, and whoever reads or writes at the other end is
// told that the connection was reset.
func Resets(serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		serve(c)
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// ResetsTLS ends the TCP connection under a TLS one likewise, when serve is done with
// what was said over TLS.
func ResetsTLS(cert tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	return Resets(func(c net.Conn) {
		if s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}); s.Handshake() == nil { //nolint:noctx // the connection's end ends it
			serve(s)
		}
	})
}

// ReadsOne reads one byte and no more: enough to know that somebody is there.
func ReadsOne(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 1)) }
