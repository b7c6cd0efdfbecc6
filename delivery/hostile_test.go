package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// piped gives a client whose every dial ends at serve, in memory, and a target for it. It is for bubbles: time there
// passes only when everybody waits.
func piped(t testing.TB, url string, serve func(net.Conn)) (*Client, *Target) {
	t.Helper()
	t.Cleanup(func() { time.Sleep(2 * time.Minute) }) // whatever an attempt leaves behind must end by itself
	client := mustClient(t, Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			serve(theirs)
		}()
		return ours, nil
	}})
	return client, mustTarget(t, TargetSpec{URL: url})
}

// hostile is a receiver that does what none should, and how an attempt at it ends.
type hostile struct {
	name    string
	serve   func(net.Conn)
	verdict Verdict
	reason  Reason
	took    time.Duration
}

func hostileReceivers() []hostile {
	const whole = 5 * time.Second
	line := strings.Repeat("a", 1000)
	return []hostile{
		{"silence", hostiletest.Hangs, Again, ReasonTimeout, whole},
		{"never reads", hostiletest.NeverReads, Again, ReasonTimeout, whole},
		{"1 byte/s headers", hostiletest.Drips("HTTP/1.1 200 OK\r\n", "X-A: a\r\n"), Again, ReasonTimeout, whole},
		{"1 byte/s status line", hostiletest.Drips("", "HTTP/1.1 200 OK and so on and so on"), Again, ReasonTimeout, whole},
		{"1 byte/s body after 200", hostiletest.Drips("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "b"), Delivered, Reason2xx, whole},
		{"1 byte/s body after 500", hostiletest.Drips("HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n", "b"), Again, Reason5xx, whole},
		{"1 byte/s body after 410", hostiletest.Drips("HTTP/1.1 410 Gone\r\nContent-Length: 1000\r\n\r\n", "b"), Gone, Reason410, whole},
		{"body promised, none sent", hostiletest.Answers(func(c net.Conn) {
			_, _ = io.WriteString(c, hostiletest.OK(10, ""))
			hostiletest.Hangs(c)
		}), Delivered, Reason2xx, whole},
		{"body shorter than promised", hostiletest.Says(hostiletest.OK(1000, "short")), Delivered, Reason2xx, 0},
		{"body longer than promised", hostiletest.Says(hostiletest.OK(2, "longer than that")), Delivered, Reason2xx, 0},
		{"204 with a body", hostiletest.Says("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), Delivered, Reason2xx, 0},
		{"two lengths that differ", hostiletest.Says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), Again, ReasonProtocol, 0},
		{"a length below 0", hostiletest.Says("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), Again, ReasonProtocol, 0},
		{"a broken chunk after 200", hostiletest.Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Delivered, Reason2xx, 0},
		{"closes without a word", hostiletest.Says(""), Again, ReasonReset, 0},
		{"closes before reading", func(net.Conn) {}, Again, ReasonReset, 0},
		{"closes after the status line", hostiletest.Says("HTTP/1.1 200 OK\r\n"), Again, ReasonReset, 0},
		{"closes within the status line", hostiletest.Says("HTTP/1.1 2"), Again, ReasonProtocol, 0},
		{"status 000", hostiletest.Says("HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status 099", hostiletest.Says("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status 600", hostiletest.Says("HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status 999", hostiletest.Says("HTTP/1.1 999 Higher\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status 2000", hostiletest.Says("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status -20", hostiletest.Says("HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n"), Again, ReasonProtocol, 0},
		{"status text", hostiletest.Says("HTTP/1.1 OK\r\n\r\n"), Again, ReasonProtocol, 0},
		{"not HTTP", hostiletest.Says("SSH-2.0-OpenSSH_9.9\r\n"), Again, ReasonProtocol, 0},
		{"HTTP/0.9", hostiletest.Says("<html>hello</html>"), Again, ReasonProtocol, 0},
		{"HTTP/2 unasked", hostiletest.Says("\x00\x00\x12\x04\x00\x00\x00\x00\x00"), Again, ReasonProtocol, 0},
		{"switching protocols", hostiletest.Answers(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			hostiletest.Hangs(c)
		}), Again, ReasonProtocol, 0},
		{"one interim answer, then 200", hostiletest.Says("HTTP/1.1 102 Processing\r\n\r\n" + hostiletest.OK(0, "")), Delivered, Reason2xx, 0},
		{"interim answers dripping", hostiletest.Drips("", "HTTP/1.1 102 P\r\n\r\n"), Again, ReasonTimeout, whole},
		{"a header line of a broken kind", hostiletest.Says("HTTP/1.1 200 OK\r\n: x\r\n" + line + "\r\n\r\n"), Again, ReasonProtocol, 0},
		{"a 2xx just in time", hostiletest.SaysAfter(4990*time.Millisecond, hostiletest.OK(2, "ok")), Delivered, Reason2xx, 4990 * time.Millisecond},
		{"a 2xx just too late", hostiletest.SaysAfter(5010*time.Millisecond, hostiletest.OK(2, "ok")), Again, ReasonTimeout, whole},
	}
}

func TestHostileReceivers(t *testing.T) {
	for _, v := range hostileReceivers() {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target := piped(t, "http://receiver/", v.serve)
				a := send(t, client, target)
				wantEnd(t, a, v.verdict, v.reason)
				if a.Took != v.took {
					t.Errorf("took %s, want %s", a.Took, v.took)
				}
				if (v.reason == ReasonTimeout || v.reason == ReasonReset) && a.Detail == "" {
					t.Error("an end without a status says nothing about itself")
				}
			})
		})
	}
}

// endless is an answer without an end, and how many bytes of it may be read.
type endless struct {
	name       string
	text, rest string
	verdict    Verdict
	reason     Reason
	most       int64
}

func endlessAnswers() []endless {
	line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	chunk := "3e8\r\n" + strings.Repeat("c", 1000) + "\r\n"
	return []endless{
		{"endless headers", "HTTP/1.1 200 OK\r\n", line, Again, ReasonProtocol, 128 << 10},
		{"one header of 10 MB", "HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000), Again, ReasonProtocol, 128 << 10},
		{"endless status line", "HTTP/1.1 200 ", strings.Repeat("O", 1000), Again, ReasonProtocol, 128 << 10},
		{"endless interim answers", "", "HTTP/1.1 103 Early Hints\r\n" + line + "\r\n", Again, ReasonProtocol, 128 << 10},
		{"endless small interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n", Again, ReasonProtocol, 128 << 10},
		{"a body of 10 GB", "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", strings.Repeat("b", 1000), Delivered, Reason2xx, 16 << 10},
		{"a body without end", "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("b", 1000), Delivered, Reason2xx, 80 << 10},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, Delivered, Reason2xx, 80 << 10},
		{"500 with chunks without end", "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, Again, Reason5xx, 80 << 10},
		{"a trailer without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n0\r\n", line, Delivered, Reason2xx, 128 << 10},
		{"a chunk extension without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "aaaaaaaa", Delivered, Reason2xx, 128 << 10},
	}
}

// What never ends must end by itself, long before the attempt's time does, and after no more than we said we read.
func TestEndlessAnswersAreCutOff(t *testing.T) {
	for _, v := range endlessAnswers() {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var written atomic.Int64
				client, target := piped(t, "http://receiver/", hostiletest.Floods(v.text, v.rest, &written))
				a := send(t, client, target)
				synctest.Wait()
				wantEnd(t, a, v.verdict, v.reason)
				if a.Took != 0 {
					t.Errorf("took %s, want it cut off at once", a.Took)
				}
				if written.Load() > v.most {
					t.Errorf("read %d bytes, want at most %d", written.Load(), v.most)
				}
				if len(a.Snippet) > snippetBytes || len(a.Detail) > detailBytes {
					t.Errorf("kept %d and %d bytes", len(a.Snippet), len(a.Detail))
				}
			})
		})
	}
}

func TestADialThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// As a real dialer does, it gives up after the same five seconds, which it counts for itself.
		client := mustClient(t, Options{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}})
		a := send(t, client, mustTarget(t, TargetSpec{URL: "https://example.com/"}))
		wantEnd(t, a, Again, ReasonTimeout)
		if a.Took != 5*time.Second {
			t.Errorf("took %s, want 5s", a.Took)
		}
		synctest.Wait()
	})
}

func TestAHandshakeThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target := piped(t, "https://receiver.example/", hostiletest.Hangs)
		a := send(t, client, target)
		wantEnd(t, a, Again, ReasonTimeout)
		if a.Took != 5*time.Second || a.Phases.TLS == 0 {
			t.Errorf("took %s with %s of TLS, want five seconds of it", a.Took, a.Phases.TLS)
		}
		synctest.Wait()
	})
}

// The receiver closes a kept connection while the next event is on its way: whether that one arrived nobody knows, so
// it must be tried again by us, counted, and not silently by the transport.
func TestClosedOnReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client, target := piped(t, "http://receiver/", func(c net.Conn) {
			r := bufio.NewReader(c)
			for hostiletest.ReadRequest(r) {
				if requests++; requests == 2 {
					return
				}
				_, _ = io.WriteString(c, hostiletest.OK(2, "ok"))
			}
		})
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		wantEnd(t, send(t, client, target), Again, ReasonReset)
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		if requests != 3 {
			t.Errorf("got %d requests for 3 attempts", requests)
		}
	})
}

// A kept connection that was closed before anything was written is replaced without the attempt noticing.
func TestClosedBeforeReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target := piped(t, "http://receiver/", hostiletest.Says(hostiletest.OK(2, "ok")))
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		synctest.Wait()
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
	})
}

func TestStopping(t *testing.T) {
	errStop := errors.New("stop")
	for name, v := range map[string]struct {
		serve   func(net.Conn)
		verdict Verdict
		reason  Reason
	}{
		"before an answer is nobody's fault":  {hostiletest.Hangs, Ours, ReasonCanceled},
		"after a 2xx changes nothing":         {hostiletest.Drips("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "b"), Delivered, Reason2xx},
		"after a 500 leaves it a failure":     {hostiletest.Drips("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n", "b"), Again, Reason5xx},
		"within the headers is nobody's, too": {hostiletest.Drips("HTTP/1.1 200 OK\r\n", "X-A: a"), Ours, ReasonCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target := piped(t, "http://receiver/", v.serve)
				ctx, stop := context.WithCancelCause(t.Context())
				time.AfterFunc(2500*time.Millisecond, func() { stop(errStop) })
				a := client.Send(ctx, target, testEvent(), Meta{})
				wantEnd(t, a, v.verdict, v.reason)
				if a.Took != 2500*time.Millisecond {
					t.Errorf("took %s, want it to end when we stop", a.Took)
				}
				synctest.Wait()
			})
		})
	}
}

func TestALargeBodyArrivesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var got []byte
		client, target := piped(t, "http://receiver/", func(c net.Conn) {
			request, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			got, _ = io.ReadAll(request.Body)
			_, _ = io.WriteString(c, hostiletest.OK(0, ""))
		})
		e := testEvent()
		e.Body = want
		wantEnd(t, client.Send(t.Context(), target, e, Meta{}), Delivered, Reason2xx)
		synctest.Wait()
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want the %d that were sent", len(got), len(want))
		}
	})
}

// An answer that comes while the body is still being sent, as those of receivers that refuse large bodies do.
func TestAnEarlyAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target := piped(t, "http://receiver/", func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				time.Sleep(time.Second)
			}
		})
		e := testEvent()
		e.Body = make([]byte, 1<<20)
		wantEnd(t, client.Send(t.Context(), target, e, Meta{}), Again, Reason4xx)
		synctest.Wait()
	})
}

func TestAnEmptyBodyIsSentAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target := piped(t, "http://receiver/", func(c net.Conn) {
			request, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil || request.Header.Get("Content-Length") == "" && request.ContentLength != 0 {
				t.Errorf("got %v, want a request with length 0", err)
			}
			_, _ = io.WriteString(c, hostiletest.OK(0, ""))
		})
		e := testEvent()
		e.Body = nil
		wantEnd(t, client.Send(t.Context(), target, e, Meta{}), Delivered, Reason2xx)
	})
}
