package delivery

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/popsee/webhooks/delivery/panics"
)

const (
	// holdTime is how long the start of a request may wait for its rest. They come microseconds apart, unless the receiver
	// has to be told of the start before it lets the rest come.
	holdTime = 2 * time.Millisecond

	// holdBytes is as much as waits. What is longer gains nothing from being written at once.
	holdBytes = 16 << 10
)

// outgoing is what a connection is about to write. HTTP/2 of net/http writes the headers of a request and its body apart,
// which is a system call, a packet and a wake-up of the receiver each: a tenth of what the whole delivery costs. While a
// request is being written the first waits for the second.
type outgoing struct {
	requests atomic.Int32 // being written
	panics   *panics.Guard

	mu   sync.Mutex  // guards the rest, and puts writes in order
	held *[]byte     // from heldBuffers; nil = nothing waits
	late *time.Timer // runs while something waits
}

var heldBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Write holds back what more will follow soon, and counts what it has written.
func (l *limited) Write(p []byte) (int, error) {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	if l.out.requests.Load() > 0 && l.hold(p) {
		return len(p), nil
	}
	if err := l.flush(); err != nil {
		return 0, err
	}
	return l.write(p)
}

func (l *limited) write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	l.wrote.Add(int64(n))
	return n, err
}

// hold takes what there is room for.
func (l *limited) hold(p []byte) bool {
	o := &l.out
	switch {
	case o.held != nil && len(*o.held)+len(p) > holdBytes, len(p) > holdBytes:
		return false
	case o.held == nil:
		o.held = heldBuffers.Get().(*[]byte)
		if o.late == nil {
			o.late = time.AfterFunc(holdTime, func() { o.panics.Do(panics.PlaceDial, l.flushLate) })
		} else {
			o.late.Reset(holdTime)
		}
	}
	*o.held = append(*o.held, p...)
	return true
}

// flush writes what waits. A connection that cannot be written to serves nobody: whoever waits for an answer hears of it
// by its end.
func (l *limited) flush() error {
	o := &l.out
	if o.held == nil {
		return nil
	}
	o.late.Stop()
	held := o.held
	o.held = nil
	_, err := l.write(*held)
	*held = (*held)[:0]
	heldBuffers.Put(held)
	if err != nil {
		l.Close()
	}
	return err
}

func (l *limited) flushLate() {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	_ = l.flush()
}

// writing says that a request will be written, and written that it was; between the two writes wait for each other.
func (l *limited) writing() { l.out.requests.Add(1) }

// written may wait for the receiver to read.
func (l *limited) written() {
	l.out.requests.Add(-1)
	l.flushLate()
}

// abandoned is written for whoever cannot wait: what is held is written by itself.
func (l *limited) abandoned() { l.out.requests.Add(-1) }
