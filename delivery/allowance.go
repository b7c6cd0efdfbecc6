package delivery

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// allowanceBytes is what a receiver may send for one attempt, everything included: 64 KiB of headers, as much of the
// body as is read and as may be on its way, handshakes and frames. It stands several times over for what nobody needs.
const allowanceBytes = 512 << 10

// errTooMuch ends a connection whose other side does not stop sending.
var errTooMuch = errors.New("the receiver sent far more than an answer may hold")

// limited is a connection that may bring in so much for each attempt on it. Over HTTP/2 a receiver can go on sending
// frames after the attempt is over, as fast as it likes and for as long as the connection is kept: net/http reads them
// all, at our expense.
type limited struct {
	net.Conn

	wrote atomic.Int64 // bytes
	out   outgoing

	mu       sync.Mutex // guards the rest
	left     int
	attempts int // that are using it now
}

func newLimited(c net.Conn) *limited { return &limited{Conn: c, left: allowanceBytes} }

// Read ends the connection when more has come than was granted.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if !l.spend(n) {
		l.Close()
		return 0, errTooMuch
	}
	return n, err
}

func (l *limited) spend(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left -= n
	return l.left >= 0
}

// begin grants one attempt's worth. Nothing is saved up for a flood: there is never more than what the attempts under way
// may need.
func (l *limited) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	l.left = min(l.left+allowanceBytes, l.attempts*allowanceBytes)
}

// end takes back what was granted and not used.
func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts--
	l.left = min(l.left, max(l.attempts, 1)*allowanceBytes)
}

// limitedOf finds what a connection of net/http stands on.
func limitedOf(c net.Conn) *limited {
	for {
		switch over := c.(type) {
		case *limited:
			return over
		case interface{ NetConn() net.Conn }: // TLS
			c = over.NetConn()
		default:
			return nil
		}
	}
}
