package delivery

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
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
	call := &call{client: c, target: t, event: e}
	call.attempt = Attempt{
		Survey: t.survey, EventID: e.ID, Host: t.host, Revision: t.revision,
		Number: max(m.Number, 1), Replay: m.Replay, Test: m.Test, Started: time.Now(),
	}
	call.run(ctx, m)
	call.attempt.Took = time.Since(call.attempt.Started)
	return call.attempt
}

// call is what one attempt needs, in one allocation. It is not pooled: net/http may still be writing the request, and
// its dials still be calling the trace, when RoundTrip has returned.
type call struct {
	client  *Client
	target  *Target
	event   events.Event
	attempt Attempt
	headers headers
	signed  signatures
	trace   trace
	traced  traced
}

func (c *call) run(ctx context.Context, m Meta) {
	if !c.sendable() {
		return
	}
	c.signed = c.headers.build(c.client, c.target, &c.event, m, c.attempt.Started)
	ctx, cancel := context.WithTimeoutCause(ctx, c.client.timeout, errTimeout)
	defer cancel()
	c.traced = traced{httptrace.WithClientTrace(ctx, c.trace.arm(c.attempt.Started)), &c.trace}
	response, err := c.client.transport.RoundTrip(c.request(&c.traced))
	if err != nil {
		c.failed(err, context.Cause(ctx))
	} else {
		c.answered(response)
	}
	c.trace.use(nil)
	c.attempt.Phases = c.trace.phases()
}

// sendable ends the attempt before it begins where there is nothing that could be sent.
func (c *call) sendable() bool {
	a := &c.attempt
	switch {
	case !headerSafe(c.event.ID) || !headerSafe(c.event.Kind):
		a.Verdict, a.Reason, a.Detail = Dead, ReasonEvent, "the event's id or kind cannot be sent in a header"
	case !c.target.signable(a.Started):
		// Going on unsigned would teach the receiver to take anything.
		a.Verdict, a.Reason, a.Detail = Again, ReasonSecret, "every secret of this endpoint has expired"
	default:
		return true
	}
	return false
}

func headerSafe(s string) bool { return s != "" && httpguts.ValidHeaderFieldValue(s) }

// signable reports whether an endpoint with secrets still has a live one. One without secrets is sent to unsigned.
func (t *Target) signable(now time.Time) bool {
	for i := range t.signers {
		if t.signers[i].live(now) {
			return true
		}
	}
	return len(t.signers) == 0
}

// request is put together by hand: http.NewRequest would parse the URL again for every attempt.
func (c *call) request(ctx context.Context) *http.Request {
	r := http.Request{
		Method: http.MethodPost, URL: c.target.url, Host: c.target.url.Host, Header: c.headers.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(c.event.Body)), Body: http.NoBody,
	}
	if len(c.event.Body) > 0 {
		r.Body, _ = c.body()
		r.GetBody = c.body
	}
	return r.WithContext(ctx)
}

// body must be a NopCloser around a bytes.Reader: any other type makes net/http send the headers in a packet of their
// own, in case reading the body blocks.
func (c *call) body() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.event.Body)), nil
}

func (c *call) failed(err, cause error) {
	a := &c.attempt
	a.Verdict, a.Reason = judgeError(err, cause, c.trace.stage())
	a.Detail = c.printable([]byte(explain(err, cause, a.Reason, c.client.timeout)), detailBytes)
}

// answered judges by the status alone, then reads the body for what it may show and to keep the connection. A body
// that stalls or breaks changes nothing: after a 2xx the event is delivered, and after anything else it is not.
func (c *call) answered(r *http.Response) {
	a := &c.attempt
	a.Status = r.StatusCode
	a.Verdict, a.Reason = Classify(r.StatusCode)
	a.After = retryAfter(r.StatusCode, r.Header.Get("Retry-After"), time.Now())
	defer r.Body.Close()
	if r.StatusCode == http.StatusSwitchingProtocols {
		return // its body is the bare connection, which has no end
	}
	window := c.client.windows.Get().(*[windowBytes]byte)
	defer c.client.windows.Put(window)
	n, err := io.ReadFull(r.Body, window[:])
	a.Snippet = c.printable(window[:n], snippetBytes)
	if err == nil && r.ContentLength <= drainBytes {
		drain(r.Body, window, drainBytes-n)
	}
}

// drain reads the rest of a body, up to a limit, into a buffer nobody looks at again.
func drain(body io.Reader, buffer *[windowBytes]byte, limit int) {
	for limit > 0 {
		n, err := body.Read(buffer[:min(limit, windowBytes)])
		if err != nil {
			return
		}
		limit -= n
	}
	// At exactly the limit the end may come next, and only reading it lets the connection be kept.
	_, _ = body.Read(buffer[:1])
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
