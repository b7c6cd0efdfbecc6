package main

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// link is a wire between two processes that can be cut: a TCP proxy on 127.0.0.1.
// Cut, it carries nothing and says nothing, as a network does that drops packets;
// mended, what was under way is closed, as its ends would find out.
type link struct {
	listener net.Listener
	to       string

	mu    sync.Mutex // guards what follows
	cut   chan struct{}
	ends  map[net.Conn]bool
	ended bool
	wg    sync.WaitGroup
}

// newLink listens for one end and dials the other.
func newLink(ctx context.Context, to string) (*link, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, to: to, ends: map[net.Conn]bool{}}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) address() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.carry(c) })
	}
}

// carry joins two ends until one of them closes.
func (l *link) carry(near net.Conn) {
	defer l.drop(near)
	if !l.keep(near) || !l.pass() {
		return
	}
	far, err := net.DialTimeout("tcp", l.to, time.Second) //nolint:noctx // bounded, and closed by close
	if err != nil {
		return
	}
	defer l.drop(far)
	if !l.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(near, far) })
	both.Go(func() { l.copy(far, near) })
	both.Wait()
}

// copy carries what comes from one end to the other.
func (l *link) copy(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if !l.pass() {
			return
		}
		if n > 0 {
			if _, werr := to.Write(buffer[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the link is cut; false says that what was under way then is
// lost.
func (l *link) pass() bool {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut == nil {
		return true
	}
	<-cut
	return false
}

// carries says whether it joins two ends.
func (l *link) carries() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ends) > 1
}

func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.ends[c] = true
	return true
}

func (l *link) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, c)
}

// sever has the link carry nothing.
func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil {
		l.cut = make(chan struct{})
	}
}

// mend has it carry again, on new connections.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil {
		return
	}
	close(l.cut)
	l.cut = nil
	for c := range l.ends {
		c.Close()
	}
}

func (l *link) close() {
	l.listener.Close()
	l.mend()
	l.mu.Lock()
	l.ended = true
	for c := range l.ends {
		c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
}

// freeAddress is one on which nothing listens now.
func freeAddress(ctx context.Context) (string, error) {
	port, err := process.FreePort(ctx)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}
