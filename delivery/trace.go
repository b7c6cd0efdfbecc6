package delivery

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// trace notes how far an attempt came and when. Its hooks are also called late, by a dial that goes on after its
// attempt is over and by the two racing dials to IPv4 and IPv6; hence the atomics, and hence a trace that a dial has seen
// is never reused: a late hook would write into another attempt.
type trace struct {
	started time.Time
	hooks   httptrace.ClientTrace

	// Nanoseconds since started; 0 = not reached.
	dnsStart, dnsDone         atomic.Int64
	connectStart, connectDone atomic.Int64
	tlsStart, tlsDone         atomic.Int64
	firstByte                 atomic.Int64
	gotConn, reused           atomic.Bool
	conn                      atomic.Pointer[limited]  // that the attempt is using; nil when it is over
	writing                   atomic.Pointer[limited]  // that net/http is writing the request to; whoever takes it out says so
	found                     atomic.Pointer[tls.Conn] // that speaks HTTP/2, for net/http to go on with; whoever takes it out owns it
}

// arm sets the hooks every attempt over net/http needs. Got1xxResponse stays unset on purpose: with it, net/http no longer counts
// interim answers against the limit on header bytes, and a receiver could send them for ever.
func (t *trace) arm() *httptrace.ClientTrace {
	t.hooks = httptrace.ClientTrace{
		GotConn:              t.onConn,
		GotFirstResponseByte: t.onFirstByte,
		WroteRequest:         t.onWrote,
	}
	return &t.hooks
}

// traced is a request's context that finds its trace again when it comes to dialling.
type traced struct {
	context.Context
	trace *trace
}

type traceKey struct{}

// Value gives the trace.
func (c *traced) Value(key any) any {
	if key == (traceKey{}) {
		return c.trace
	}
	return c.Context.Value(key)
}

// use tells the connection of the attempt that it is used, and the one of before, if there was one, that it is not.
func (t *trace) use(c *limited) {
	if c != nil {
		c.begin()
	}
	if before := t.conn.Swap(c); before != nil {
		before.end()
	}
}

func (t *trace) since() int64 { return max(int64(time.Since(t.started)), 1) }

func (t *trace) first(at *atomic.Int64) { at.CompareAndSwap(0, t.since()) }

func (t *trace) onConn(i httptrace.GotConnInfo) {
	l := limitedOf(i.Conn)
	t.connected(l, i.Reused)
	if l != nil {
		l.writing()
	}
	if before := t.writing.Swap(l); before != nil {
		before.abandoned()
	}
}

func (t *trace) onWrote(httptrace.WroteRequestInfo) {
	if l := t.writing.Swap(nil); l != nil {
		l.written()
	}
}

// abandon is for an attempt that is over, however far it came.
func (t *trace) abandon() {
	if l := t.writing.Swap(nil); l != nil {
		l.abandoned()
	}
}

func (t *trace) connected(c *limited, reused bool) {
	t.reused.Store(reused)
	t.gotConn.Store(true)
	t.use(c)
}

func (t *trace) onFirstByte()                         { t.first(&t.firstByte) }
func (t *trace) onDNSStart(httptrace.DNSStartInfo)    { t.first(&t.dnsStart) }
func (t *trace) onConnectStart(string, string)        { t.first(&t.connectStart) }
func (t *trace) onTLSStart()                          { t.first(&t.tlsStart) }
func (t *trace) onConnectDone(_, _ string, err error) { t.done(&t.connectDone, err) }
func (t *trace) onDNSDone(i httptrace.DNSDoneInfo)    { t.done(&t.dnsDone, i.Err) }

func (t *trace) onTLSDone(_ tls.ConnectionState, err error) { t.done(&t.tlsDone, err) }

// done marks a phase as passed. One that failed is not: where an attempt ended is where its last phase began.
func (t *trace) done(at *atomic.Int64, err error) {
	if err == nil {
		at.Store(t.since())
	}
}

// phases reads the trace once the attempt is over.
func (t *trace) phases() Phases {
	p := Phases{FirstByte: time.Duration(t.firstByte.Load()), Reused: t.reused.Load()}
	if p.Reused {
		return p // what was dialled beside it served another attempt
	}
	p.DNS = t.span(&t.dnsStart, &t.dnsDone)
	p.Connect = t.span(&t.connectStart, &t.connectDone)
	p.TLS = t.span(&t.tlsStart, &t.tlsDone)
	return p
}

// span measures a phase; one that began and did not pass lasted until now.
func (t *trace) span(start, done *atomic.Int64) time.Duration {
	from, to := start.Load(), done.Load()
	if from == 0 {
		return 0
	}
	if to == 0 {
		to = t.since()
	}
	return time.Duration(max(to-from, 1))
}

// stage is how far an attempt came: what a bare error or the end of its time cannot tell.
type stage uint8

const (
	stageStart stage = iota
	stageDNS
	stageConnect
	stageTLS
	stageSent     // it had a connection
	stageAnswered // the first byte came
)

func (t *trace) stage() stage {
	switch {
	case t.firstByte.Load() != 0:
		return stageAnswered
	case t.gotConn.Load():
		return stageSent
	case t.tlsStart.Load() != 0:
		return stageTLS
	case t.connectStart.Load() != 0:
		return stageConnect
	case t.dnsStart.Load() != 0 && t.dnsDone.Load() == 0:
		return stageDNS
	}
	return stageStart
}
