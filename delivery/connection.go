package delivery

import (
	"bufio"
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// headBytes bounds an answer's head, interim answers included: together they may be no longer.
	headBytes = 64 << 10

	// readBytes is what one read asks a connection for: all of a usual answer.
	readBytes = 4 << 10
)

// errLongHead ends an answer whose head does not.
var errLongHead = errors.New("the answer's headers are longer than 64 KiB")

// connection is one HTTP/1.1 connection, for one exchange at a time. It has no goroutines: whoever makes an attempt writes
// the request and reads the answer, which costs half of what handing both to others does.
type connection struct {
	net.Conn // what is written to and read from: the TLS connection where there is one

	under  *limited // what Conn stands on
	route  route
	quiet  *stillness
	reader *bufio.Reader // over this connection; nil while nobody uses it
	left   int           // bytes that may still be read before the head must be over
	reused bool

	// Owned by the pool.
	since  time.Time // kept since
	change uint64    // the pool's, when this was dialled
}

func newConnection(c net.Conn, r route) *connection {
	under := limitedOf(c)
	return &connection{Conn: c, under: under, route: r, quiet: stillnessOf(under.Conn)}
}

func (c *connection) borrow(from *sync.Pool) {
	c.reader = from.Get().(*bufio.Reader)
	c.reader.Reset(c)
}

// giveBack returns the reader: thousands of connections are kept, and few are in use. It says whether nothing came that
// nobody asked for.
func (c *connection) giveBack(to *sync.Pool) bool {
	clean := c.reader.Buffered() == 0
	c.reader.Reset(nil)
	to.Put(c.reader)
	c.reader = nil
	return clean
}

// Read is the reader's: it keeps the head within its bound.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(p)
	if c.left != math.MaxInt {
		c.left -= n
	}
	return n, err
}

// postRequest tells net/http what it needs of a request to read its answer.
var postRequest = &http.Request{Method: http.MethodPost}

// answer reads the head of the final answer; interim ones are read over. firstByte is called when anything comes.
func (c *connection) answer(firstByte func()) (*http.Response, error) {
	c.left = headBytes
	if _, err := c.reader.Peek(1); err != nil {
		return nil, err
	}
	firstByte()
	for {
		r, err := http.ReadResponse(c.reader, postRequest)
		if err != nil {
			return nil, err
		}
		if r.StatusCode < 100 || r.StatusCode >= 200 || r.StatusCode == http.StatusSwitchingProtocols {
			c.left = math.MaxInt // the body has a bound of its own
			return r, nil
		}
	}
}

// breakOff hangs up without a word: to say one could take as long as the receiver likes.
func (c *connection) breakOff() { _ = c.under.Close() }

// interrupt ends what is being read and written, now.
func (c *connection) interrupt() { _ = c.under.SetDeadline(time.Unix(1, 0)) }
