package admin

import (
	"bufio"
	"context"
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

// counting is a client's end that counts what the server has taken, and letting is a
// server's end that says when it was let go.
type (
	counting struct {
		net.Conn

		taken int
	}
	letting struct {
		net.Conn

		once sync.Once
		gone chan time.Time
	}
)

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.taken += n
	return n, err
}

func (l *letting) Close() error {
	l.once.Do(func() { l.gone <- time.Now() })
	return l.Conn.Close()
}

// much is what /metrics shows, far more than is buffered anywhere.
func much(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: "much", Help: strings.Repeat("a", 1<<20)})); err != nil {
		t.Fatal(err)
	}
	return reg
}

// Whoever connects and does not ask, asks slowly, asks without end or does not listen is
// let go, and costs nobody else an answer.
func TestSlowAndGreedyClientsAreLetGo(t *testing.T) {
	for name, v := range map[string]struct {
		client func(io.Writer)
		deaf   bool // it reads nothing of what is answered
		within time.Duration
		taken  int // bytes at most; 0: as many as come in that time
	}{
		"says nothing": {client: func(io.Writer) {}, within: headerTime},
		"headers byte by byte": {client: func(c io.Writer) {
			for _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\n"); err == nil; _, err = io.WriteString(c, "a") {
				time.Sleep(time.Second)
			}
		}, within: headerTime + time.Second},
		"a body without end": {client: func(c io.Writer) {
			_, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
			for ; err == nil; _, err = io.WriteString(c, "a") {
				time.Sleep(time.Second)
			}
		}, within: requestTime + 10*time.Second},
		"headers without end": {client: func(c io.Writer) {
			_, err := io.WriteString(c, "GET /livez HTTP/1.1\r\n")
			for ; err == nil; _, err = io.WriteString(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n") {
				continue
			}
		}, within: headerTime, taken: 2 * headerBytes}, // net/http reads 4 KiB more than it is told, and what it buffers
		"asks for much and does not listen": {client: func(c io.Writer) {
			_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
		}, deaf: true, within: requestTime},
		"asks once and stays": {client: func(c io.Writer) {
			_, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
		}, within: idleTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn, 2)}
				ok := func() error { return nil }
				s := newHTTP(Options{Live: ok, Ready: ok, Metrics: much(t)})
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				near, far := net.Pipe()
				ours, theirs := &counting{Conn: near}, &letting{Conn: far, gone: make(chan time.Time, 1)}
				l.conns <- theirs
				began := time.Now()
				var client sync.WaitGroup
				client.Go(func() { v.client(ours) })
				if !v.deaf {
					client.Go(func() { _, _ = io.Copy(io.Discard, near) })
				}
				healthy, server := net.Pipe()
				l.conns <- server
				_, _ = io.WriteString(healthy, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(healthy), nil)
				if err != nil || resp.StatusCode != http.StatusOK || time.Since(began) > 0 {
					t.Errorf("beside it: %v %v after %s", resp, err, time.Since(began))
				} else {
					_ = resp.Body.Close()
				}
				if took := (<-theirs.gone).Sub(began); took > v.within {
					t.Errorf("let go after %s, want within %s", took, v.within)
				}
				_ = ours.Close()
				_ = healthy.Close()
				client.Wait()
				if v.taken > 0 && ours.taken > v.taken {
					t.Errorf("%d bytes were taken of it, want %d at most", ours.taken, v.taken)
				}
				_ = s.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}

// Gathering costs more than asking: one scrape too many is refused at once, and those
// before it are answered.
func TestScrapesAtTheSameTimeAreBounded(t *testing.T) {
	gathering, goOn := make(chan struct{}, scrapes+1), make(chan struct{})
	reg := prometheus.NewRegistry()
	slow := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow", Help: "Takes its time."}, func() float64 {
		gathering <- struct{}{}
		<-goOn
		return 1
	})
	if err := reg.Register(slow); err != nil {
		t.Fatal(err)
	}
	ok := func() error { return nil }
	s, err := Start(t.Context(), Options{Listen: "127.0.0.1:0", Live: ok, Ready: ok, Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	ask := func(path string) int {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	answers := make(chan int, scrapes)
	for range scrapes {
		go func() { answers <- ask("/metrics") }()
	}
	for range scrapes {
		<-gathering
	}
	if status := ask("/metrics"); status != http.StatusServiceUnavailable {
		t.Errorf("one scrape more than %d: %d, want 503", scrapes, status)
	}
	if status := ask("/livez"); status != http.StatusOK {
		t.Errorf("health beside them: %d, want 200", status)
	}
	close(goOn)
	for range scrapes {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("a scrape before it: %d, want 200", status)
		}
	}
	if status := ask("/metrics"); status != http.StatusOK {
		t.Errorf("a scrape after them: %d, want 200", status)
	}
}
