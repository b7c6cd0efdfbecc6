package bustest

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// Wire is the way to the server, which can be cut at a chosen place.
type Wire struct {
	mu      sync.Mutex // guards what follows
	pattern []byte     // what the request to cut at contains; nil: nothing is cut
	lose    Part
	sent    bool // the request has gone through: the next bytes back are its answer
}

// Part is what of a request is lost when the wire is cut.
type Part int

// The parts.
const (
	TheWrite  Part = iota // it never reaches the server
	TheAnswer             // the server has done it, nobody hears
)

// Cut arms the wire: the next request containing pattern ends the connection.
func (w *Wire) Cut(lose Part, pattern string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.pattern, w.sent = lose, []byte(pattern), false
}

// Armed says whether the cut has yet to happen.
func (w *Wire) Armed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pattern != nil
}

// wired is one connection over the wire.
type wired struct {
	net.Conn
	w *Wire
}

func (c wired) Write(p []byte) (int, error) {
	if c.w.passing(p) {
		return c.Conn.Write(p)
	}
	_ = c.Close()
	return 0, io.ErrClosedPipe
}

func (c wired) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil || c.w.answering() {
		return n, err
	}
	_ = c.Close()
	return 0, io.EOF
}

func (w *Wire) passing(p []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pattern == nil || !bytes.Contains(p, w.pattern) {
		return true
	}
	if w.lose == TheWrite {
		w.pattern = nil
		return false
	}
	w.sent = true
	return true
}

func (w *Wire) answering() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sent {
		return true
	}
	w.pattern, w.sent = nil, false
	return false
}
