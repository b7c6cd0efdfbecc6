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
	sent    bool          // the request has gone through: the next bytes back are its answer
	pass    int           // such requests go through first
	held    chan struct{} // closed when what is held may go on; nil: nothing is held
	kept    []kept
}

// kept is what was written while the wire was held.
type kept struct {
	conn  net.Conn
	bytes []byte
}

// Part is what of a request is lost when the wire is cut.
type Part int

// The parts.
const (
	TheWrite  Part = iota // it never reaches the server
	TheAnswer             // the server has done it, nobody hears
)

// Cut arms the wire: the next request containing pattern ends the connection.
func (w *Wire) Cut(lose Part, pattern string) { w.CutAfter(0, lose, pattern) }

// CutAfter is [Wire.Cut] that lets some such requests pass first.
func (w *Wire) CutAfter(pass int, lose Part, pattern string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.pattern, w.sent, w.pass = lose, []byte(pattern), false, pass
}

// Hold keeps everything on the wire from arriving, either way, until
// [Wire.Release], as if the process at this end had been stopped. What is written
// meanwhile is kept: the client writes with a lock in its hands.
func (w *Wire) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = make(chan struct{})
}

// Release lets go on what [Wire.Hold] has held.
func (w *Wire) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.kept {
		_, _ = k.conn.Write(k.bytes) // a connection that ended meanwhile has nobody to tell
	}
	close(w.held)
	w.held, w.kept = nil, nil
}

// keep keeps what is written while the wire is held; it says whether it did.
func (w *Wire) keep(conn net.Conn, p []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		return false
	}
	w.kept = append(w.kept, kept{conn, bytes.Clone(p)})
	return true
}

func (w *Wire) wait() {
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held != nil {
		<-held
	}
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
	if c.w.keep(c.Conn, p) {
		return len(p), nil
	}
	if c.w.passing(p) {
		return c.Conn.Write(p)
	}
	_ = c.Close()
	return 0, io.ErrClosedPipe
}

func (c wired) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.wait()
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
	if w.pass > 0 {
		w.pass--
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
