package delivery

import (
	"context"
	"sync/atomic"
	"time"
)

// shareTime is how much longer an attempt over HTTP/2 may take, so that it can share its end with others.
const shareTime = 10 * time.Millisecond

// deadlines gives attempts over net/http the contexts that end them. One for each would cost a timer, and a place among
// its parent's children, for which all attempts wait at one lock: those that begin within a moment share one.
type deadlines struct {
	timeout time.Duration
	newest  atomic.Pointer[deadline]
}

// deadline is a context for the attempts that begin within shareTime.
type deadline struct {
	context.Context                 //nolint:containedctx // it is one
	parent          <-chan struct{} // ends it, too
	since           time.Time
}

// from gives a context that ends when ctx does, or when an attempt that began then has had its time.
func (d *deadlines) from(ctx context.Context, began time.Time) context.Context {
	if n := d.newest.Load(); n != nil && n.parent == ctx.Done() {
		if late := began.Sub(n.since); late >= 0 && late < shareTime {
			return n
		}
	}
	shared, end := context.WithCancelCause(ctx)
	time.AfterFunc(time.Until(began.Add(d.timeout+shareTime)), func() { end(errTimeout) })
	n := &deadline{shared, ctx.Done(), began}
	d.newest.Store(n)
	return n
}
