package delivery

import (
	"context"
	"errors"
	"net/http/httptrace"
	"time"

	"github.com/popsee/webhooks/delivery/panics"
)

// inlineBytes is up to which size a request is written before its answer is read. A longer one may fill every buffer on
// its way while the receiver waits for its answer to be read.
const inlineBytes = 32 << 10

// A connection was handed on to the other way.
var (
	errSpeaksHTTP2 = errors.New("the host speaks HTTP/2")
	errSpeaksHTTP1 = errors.New("the host speaks HTTP/1.1")
)

// postHTTP1 makes the attempt over a kept connection or a new one. A kept one may turn out to be closed as the request is
// written. If nothing was, another is taken: the receiver cannot have seen anything. Once a byte is written the attempt
// stands, whatever comes of it, for a second request would be a delivery that nobody counted.
func (c *call) postHTTP1(ctx context.Context) error {
	for {
		conn, err := c.connect(ctx)
		if err != nil {
			return err
		}
		before := conn.under.wrote.Load()
		err = c.exchange(ctx, conn)
		if err == nil || !conn.reused || conn.under.wrote.Load() != before {
			return err
		}
	}
}

func (c *call) connect(ctx context.Context) (*connection, error) {
	if conn := c.client.pool.take(c.target.route); conn != nil {
		conn.reused = true
		return conn, nil
	}
	c.shared = true
	ctx, cancel := context.WithDeadlineCause(ctx, c.deadline, errTimeout)
	defer cancel()
	change := c.client.pool.change.Load()
	dialled, err := c.client.dialRoute(&traced{ctx, &c.trace}, c.target.route)
	if err != nil {
		return nil, err
	}
	if secure := speakingHTTP2(dialled); secure != nil {
		c.client.http2.learn(c.target.route)
		c.trace.found.Store(secure)
		return nil, errSpeaksHTTP2
	}
	conn := newConnection(dialled, c.target.route)
	conn.change = change
	return conn, nil
}

// exchange sends the request and reads the answer. It owns the connection, and keeps it where it can serve again.
func (c *call) exchange(ctx context.Context, conn *connection) error {
	c.trace.connected(conn.under, conn.reused)
	owned := true
	defer func() {
		if owned { // whoever survives a panic knows nothing of the connection
			conn.breakOff()
		}
	}()
	_ = conn.SetDeadline(c.deadline)
	stop := context.AfterFunc(ctx, conn.interrupt)
	conn.borrow(&c.client.readers)
	sending := c.send(conn)
	answer, err := conn.answer(c.trace.onFirstByte) //nolint:bodyclose // closing it would read the rest; what is unread goes with the connection
	ended := err == nil && c.answered(answer)
	clean := conn.giveBack(&c.client.readers)
	c.trace.use(nil)
	owned = false
	if !stop() || !ended || !sending.ended() {
		conn.breakOff()
		return sending.failed(err)
	}
	if answer.Close || !clean {
		conn.Close()
		return nil
	}
	c.client.pool.put(conn)
	return nil
}

// sending is a request on its way.
type sending struct {
	err  error
	done chan error // of one still being written; nil = err is all there is to know
}

// send writes the request, and a long one while the answer is waited for.
func (c *call) send(conn *connection) sending {
	request := c.client.requests.Get().(*[]byte)
	*request = c.appendHead((*request)[:0])
	if len(c.event.Body) > inlineBytes {
		s := sending{done: make(chan error, 1)}
		go func() {
			defer c.client.requests.Put(request)
			s.done <- c.client.panics.Try(panics.PlaceDial, func() error {
				_, err := conn.Write(*request)
				if err == nil {
					_, err = conn.Write(c.event.Body)
				}
				return err
			})
		}()
		return s
	}
	defer c.client.requests.Put(request)
	*request = append(*request, c.event.Body...)
	_, err := conn.Write(*request)
	return sending{err: err}
}

// ended says whether all of the request was sent. The answer has come, so it was at once, if ever.
func (s *sending) ended() bool {
	if s.done == nil {
		return s.err == nil
	}
	select {
	case s.err = <-s.done:
		s.done = nil
		return s.err == nil
	case <-time.After(50 * time.Millisecond): // as long as net/http waits
		return false
	}
}

// failed waits until nobody writes any more and gives the error to tell of: a request that could not be written says
// more than that no answer came. One that was answered all the same has none.
func (s *sending) failed(err error) error {
	if s.done != nil {
		s.err = <-s.done
		return err
	}
	if err != nil && s.err != nil {
		return s.err
	}
	return err
}

// postHTTP2 makes the attempt through net/http, which goes on with the connection that was found to speak it, if one was.
func (c *call) postHTTP2(ctx context.Context) error {
	c.shared = true
	ctx = c.client.deadlines.from(ctx, c.attempt.Started)
	defer c.trace.abandon()
	answer, err := c.client.transport.RoundTrip(c.request(&traced{httptrace.WithClientTrace(ctx, c.trace.arm()), &c.trace}))
	if unused := c.trace.found.Swap(nil); unused != nil {
		_ = unused.Close() // another connection to the host was there
	}
	if errors.Is(err, errSpeaksHTTP1) {
		c.client.http2.forget(c.target.route)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	c.answered(answer)
	return nil
}
