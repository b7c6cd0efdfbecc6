package main

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/time/rate"
)

// terminal is a pseudo-terminal, and what a program has written on it.
type terminal struct {
	*os.File // the program's end

	shown lockedBuffer
}

// newTerminal opens a terminal of 110 columns.
func newTerminal(t *testing.T) *terminal {
	t.Helper()
	person, program, err := pty.Open()
	must(t, err)
	must(t, pty.Setsize(person, &pty.Winsize{Rows: 40, Cols: 110}))
	screen := &terminal{File: program}
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		_, _ = io.Copy(&screen.shown, person) // it ends in an error when the program's end is closed
	}()
	t.Cleanup(func() {
		must(t, program.Close())
		<-seen
		must(t, person.Close())
	})
	return screen
}

// pipe is what a program writes into when another one reads it.
type pipe struct {
	*os.File // the program's end

	read func() string // closes it, and gives what was written
}

func newPipe(t *testing.T) *pipe {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	all := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(r) // nothing but its end ends it
		all <- string(b)
	}()
	return &pipe{File: w, read: sync.OnceValue(func() string {
		must(t, w.Close())
		defer r.Close()
		return <-all
	})}
}

// link is a slow wire to a server: what comes from there takes its time, until it is
// let go.
type link struct {
	address string
	pace    *rate.Limiter
	rest    context.Context //nolint:containedctx // of all who pass something on
	work    sync.WaitGroup
}

// The pace of a link: a few thousand answers take seconds.
const (
	linkPace  = 400 << 10 // bytes a second
	linkPiece = 4 << 10
)

func slowLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	k := &link{address: l.Addr().String(), pace: rate.NewLimiter(linkPace, linkPiece), rest: ctx}
	k.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			k.work.Go(func() { k.carry(near, to) })
		}
	})
	t.Cleanup(func() {
		stop()
		must(t, l.Close())
		k.work.Wait()
	})
	return k
}

// carry passes on one connection until either end is closed.
func (k *link) carry(near net.Conn, to string) {
	far, err := (&net.Dialer{}).DialContext(k.rest, "tcp", to)
	if err != nil {
		_ = near.Close()
		return
	}
	end := context.AfterFunc(k.rest, func() { _, _ = near.Close(), far.Close() })
	defer end()
	k.work.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	_, _ = io.Copy(near, &paced{far, k})
	_ = near.Close()
}

// paced reads at the pace of a link.
type paced struct {
	net.Conn

	k *link
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b[:min(len(b), linkPiece)])
	if n > 0 && err == nil {
		err = p.k.pace.WaitN(p.k.rest, n)
	}
	return n, err
}

// letGo makes it a wire like any other.
func (k *link) letGo() { k.pace.SetLimit(rate.Inf) }
