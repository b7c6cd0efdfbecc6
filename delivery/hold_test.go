package delivery

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// counted counts what would be system calls.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// overHTTP2 attempts once, so that a connection is there, and gives the writes of what comes after.
func overHTTP2(t *testing.T, settings []http2.Setting, then func(hostiletest.Stream)) (*Client, *Target, *atomic.Int64) {
	t.Helper()
	ca := hostiletest.NewAuthority(t)
	cert := ca.Issue(t, "receiver.example", hostiletest.LongLeft)
	writes := &atomic.Int64{}
	client := mustClient(t, Options{RootCAs: ca.Pool, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go hostiletest.SpeaksHTTP2(cert, settings, then)(theirs)
		return counted{ours, writes}, nil
	}})
	target := mustTarget(t, TargetSpec{URL: "https://receiver.example/"})
	wantEnd(t, send(t, client, target), Delivered, Reason2xx)
	synctest.Wait()
	writes.Store(0)
	return client, target, writes
}

func accepts(s hostiletest.Stream) { _ = s.Headers(true, ":status", "200") }

func TestAnHTTP2RequestIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target, writes := overHTTP2(t, nil, accepts)
		for range 10 {
			a := send(t, client, target)
			wantEnd(t, a, Delivered, Reason2xx)
			if !a.Phases.Reused || a.Took != 0 {
				t.Errorf("it took %s, reused: %t", a.Took, a.Phases.Reused)
			}
			synctest.Wait()
		}
		if n := writes.Load(); n != 10 {
			t.Errorf("%d writes for 10 requests", n)
		}
	})
}

// A receiver may want to see the headers before it lets the body come.
func TestTheStartOfARequestDoesNotWaitForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
		client, target, writes := overHTTP2(t, closed, func(s hostiletest.Stream) {
			_ = s.WriteWindowUpdate(s.ID, 1<<20)
			accepts(s)
		})
		a := send(t, client, target)
		wantEnd(t, a, Delivered, Reason2xx)
		synctest.Wait()
		if a.Took != holdTime || writes.Load() < 2 {
			t.Errorf("it took %s, want %s; %d writes", a.Took, holdTime, writes.Load())
		}
	})
}

// What is held for an attempt that ended first is written by itself: it may end another's request, or tell the
// receiver that there is none.
func TestWhatIsHeldIsWrittenWithoutItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		writes := &atomic.Int64{}
		l := newLimited(counted{ours, writes})
		got := make(chan string, 10)
		go func() {
			for b := make([]byte, 2*holdBytes); ; {
				n, err := theirs.Read(b)
				if err != nil {
					close(got)
					return
				}
				got <- string(b[:n])
			}
		}()
		began := time.Now()
		want := func(text string, after time.Duration) {
			t.Helper()
			if s := <-got; s != text || time.Since(began) != after {
				t.Errorf("got %q after %s, want %q after %s", s, time.Since(began), text, after)
			}
		}
		write := func(text string) {
			t.Helper()
			if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		write("a")
		want("a", 0)
		l.writing()
		write("b")
		write("c")
		l.abandoned()
		want("bc", holdTime)
		l.writing()
		write("d")
		l.abandoned()
		write("e") // what comes later must not overtake
		want("d", holdTime)
		want("e", holdTime)
		l.writing()
		write("f")
		write(string(make([]byte, holdBytes)))
		want("f", holdTime)
		for n := 0; n < holdBytes; {
			n += len(<-got)
		}
		write("g")
		l.written()
		want("g", holdTime)
		l.writing()
		write("h")
		theirs.Close()
		l.written()
		if _, err := l.Write([]byte("i")); err == nil {
			t.Error("a broken connection is written to")
		}
		if _, err := l.Read(make([]byte, 1)); err == nil {
			t.Error("a broken connection is read from")
		}
	})
}
