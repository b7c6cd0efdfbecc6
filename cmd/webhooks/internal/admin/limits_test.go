package admin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pipes is a listener in memory, for time that is not real.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	c, open := <-p.conns
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Whoever connects and does not ask, asks slowly or does not listen is let go, and
// costs nobody else an answer.
func TestSlowAndGreedyClientsAreLetGo(t *testing.T) {
	for name, v := range map[string]struct {
		client func(net.Conn)
		within time.Duration
	}{
		"says nothing": {func(net.Conn) {}, headerTime},
		"headers byte by byte": {func(c net.Conn) {
			for _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\n"); err == nil; _, err = io.WriteString(c, "a") {
				time.Sleep(time.Second)
			}
		}, headerTime + time.Second},
		"a body without end": {func(c net.Conn) {
			_, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
			for ; err == nil; _, err = io.WriteString(c, "a") {
				time.Sleep(time.Second)
			}
		}, requestTime + 10*time.Second},
		"headers without end": {func(c net.Conn) {
			_, err := io.WriteString(c, "GET /livez HTTP/1.1\r\n")
			for ; err == nil; _, err = io.WriteString(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n") {
				continue
			}
		}, headerTime},
		"asks once and stays": {func(c net.Conn) {
			_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
		}, idleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn, 2)}
				ok := func() error { return nil }
				s := newHTTP(Options{Live: ok, Ready: ok, Metrics: prometheus.NewRegistry()})
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				ours, theirs := net.Pipe()
				l.conns <- theirs
				began := time.Now()
				var client sync.WaitGroup
				client.Go(func() { v.client(ours) })
				ended := make(chan time.Duration, 1)
				go func() {
					_, _ = io.Copy(io.Discard, ours)
					ended <- time.Since(began)
				}()
				healthy, server := net.Pipe()
				l.conns <- server
				_, _ = io.WriteString(healthy, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(healthy), nil)
				if err != nil || resp.StatusCode != http.StatusOK || time.Since(began) > 0 {
					t.Errorf("beside it: %v %v after %s", resp, err, time.Since(began))
				} else {
					_ = resp.Body.Close()
				}
				if took := <-ended; took > v.within {
					t.Errorf("let go after %s, want within %s", took, v.within)
				}
				_ = ours.Close()
				_ = healthy.Close()
				client.Wait()
				_ = s.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
