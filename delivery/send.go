package delivery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/popsee/webhooks/events"
	"golang.org/x/net/http/httpguts"
)

// drainBytes is how much of an answer's body is read so that its connection can be kept. Past it, a new connection is
// cheaper than the rest of the body.
const drainBytes = 64 << 10

// Send makes one attempt and says how it ended. It is total: every end is an Attempt.
//
// The attempt has its five seconds from here. When ctx ends first the verdict is Ours, unless a status had already
// come: a receiver that answered has the event, whatever became of us.
func (c *Client) Send(ctx context.Context, t *Target, e events.Event, m Meta) Attempt {
	call := c.calls.Get().(*call)
	call.client, call.target, call.event = c, t, e
	call.attempt = Attempt{
		Survey: t.survey, EventID: e.ID, Host: t.route.address, Revision: t.revision,
		Number: max(m.Number, 1), Replay: m.Replay, Test: m.Test, Started: time.Now(),
	}
	call.run(ctx, m)
	return call.over()
}

// call is what one attempt needs, in one allocation of a kilobyte: half of what an attempt would leave to the garbage
// collector. So it serves again, unless somebody else has seen it: net/http may still be writing the request, and dials
// still be calling the trace, when the attempt is over.
type call struct {
	shared   bool // with a dial or net/http
	client   *Client
	target   *Target
	event    events.Event
	attempt  Attempt
	deadline time.Time
	headers  headers
	signed   signatures
	trace    trace
}

// over gives what came of the attempt. The call is nobody's then.
func (c *call) over() Attempt {
	client, attempt := c.client, c.attempt
	attempt.Took = time.Since(attempt.Started)
	if !c.shared {
		*c = call{}
		client.calls.Put(c)
	}
	return attempt
}

func (c *call) run(ctx context.Context, m Meta) {
	if !c.sendable(m) {
		return
	}
	c.trace.started = c.attempt.Started
	c.deadline = c.attempt.Started.Add(c.client.timeout)
	c.signed = c.headers.build(c.target, &c.event, m, c.attempt.Started)
	if err := c.post(ctx); err != nil {
		c.failed(err, c.cause(ctx, err))
	}
	c.trace.use(nil)
	c.attempt.Phases = c.trace.phases()
}

// post goes the way that the host is known to speak, or the other one where it has changed. One that changes each time is
// not followed for ever.
func (c *call) post(ctx context.Context) (err error) {
	way := c.postHTTP1
	if c.client.http2.at(c.target.route) {
		way = c.postHTTP2
	}
	for range 3 {
		err = way(ctx)
		switch {
		case errors.Is(err, errSpeaksHTTP2):
			way = c.postHTTP2
		case errors.Is(err, errSpeaksHTTP1):
			way = c.postHTTP1
		default:
			return err
		}
	}
	if unused := c.trace.found.Swap(nil); unused != nil {
		_ = unused.Close()
	}
	return err
}

// cause is why an attempt that failed had to end, or nil when it ended by itself.
func (c *call) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(c.deadline) {
		return errTimeout
	}
	return nil
}

// sendable ends the attempt before it begins where there is nothing that could be sent.
func (c *call) sendable(m Meta) bool {
	a := &c.attempt
	switch {
	case !headerSafe(c.event.ID) || !headerSafe(c.event.Kind):
		a.Verdict, a.Reason, a.Detail = Dead, ReasonEvent, "the event's id or kind cannot be sent in a header"
	case !headerValue(m.Replay) || !headerValue(c.event.Traceparent) || !headerValue(c.event.Tracestate):
		a.Verdict, a.Reason, a.Detail = Dead, ReasonEvent, "the replay's id or the event's trace cannot be sent in a header"
	case !c.target.signable(a.Started):
		// Going on unsigned would teach the receiver to take anything.
		a.Verdict, a.Reason, a.Detail = Again, ReasonSecret, "every secret of this endpoint has expired"
	default:
		return true
	}
	return false
}

func headerSafe(s string) bool { return s != "" && headerValue(s) }

func headerValue(s string) bool { return httpguts.ValidHeaderFieldValue(s) }

// signable reports whether an endpoint with secrets still has a live one. One without secrets is sent to unsigned.
func (t *Target) signable(now time.Time) bool {
	for i := range t.signers {
		if t.signers[i].live(now) {
			return true
		}
	}
	return len(t.signers) == 0
}

func (c *call) failed(err, cause error) {
	a := &c.attempt
	a.Verdict, a.Reason = judgeError(err, cause, c.trace.stage())
	a.Detail = c.printable([]byte(explain(err, cause, a.Reason, c.client.timeout)), detailBytes)
}

// answered judges by the status alone, then reads the body for what it may show and to keep the connection: it says
// whether the body came to its end. A body that stalls or breaks changes nothing: after a 2xx the event is delivered, and
// after anything else it is not.
func (c *call) answered(r *http.Response) (ended bool) {
	a := &c.attempt
	a.Status = r.StatusCode
	a.Verdict, a.Reason = Classify(r.StatusCode)
	a.After = retryAfter(r.StatusCode, r.Header.Get("Retry-After"), time.Now())
	if r.StatusCode == http.StatusSwitchingProtocols {
		return false // its body is the bare connection, which has no end
	}
	window := c.client.windows.Get().(*[windowBytes]byte)
	defer c.client.windows.Put(window)
	body := &bounded{body: r.Body}
	n := body.fill(window[:])
	a.Snippet = c.printable(window[:n], snippetBytes)
	if r.ContentLength <= drainBytes {
		body.drain(window)
	}
	return body.ended
}

// bounded reads a body as far as it is worth it.
type bounded struct {
	body  io.Reader
	read  int
	ended bool // the body's end was read
	broke bool // it ended, but not where it should
}

// fill reads as much as there is room for.
func (b *bounded) fill(window []byte) int {
	n := 0
	for n < len(window) && !b.ended && !b.broke {
		n += b.next(window[n:])
	}
	return n
}

// drain reads the rest into a buffer nobody looks at again, and gives up past drainBytes.
func (b *bounded) drain(buffer *[windowBytes]byte) {
	for !b.ended && !b.broke && b.read <= drainBytes {
		// At exactly the limit the end may come next, and only reading it lets the connection be kept.
		b.next(buffer[:min(drainBytes-b.read+1, windowBytes)])
	}
}

func (b *bounded) next(into []byte) int {
	n, err := b.body.Read(into)
	b.read += n
	b.ended = err == io.EOF
	b.broke = err != nil && !b.ended
	return n
}

func (c *call) printable(text []byte, limit int) string {
	if len(text) == 0 {
		return ""
	}
	hide := make([]string, 0, 16)
	hide = append(hide, c.target.private.hide...)
	hide = c.signed.hidden(hide)
	return printable(text, limit, hide...)
}
