package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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

func TestHostileReceivers(t *testing.T) {
	for _, v := range hostiletest.OneByOne() {
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target := piped(t, "http://receiver/", v.Serve)
				a := send(t, client, target)
				wantEndOf(t, a, hostiletest.Receiver{Verdict: v.Verdict, Reasons: []string{v.Reason}})
				if a.Took != v.Took {
					t.Errorf("took %s, want %s", a.Took, v.Took)
				}
				if (a.Reason == ReasonTimeout || a.Reason == ReasonReset) && a.Detail == "" {
					t.Error("an end without a status says nothing about itself")
				}
			})
		})
	}
}

// What never ends must end by itself, long before the attempt's time does, and after no more than we said we read.
func TestEndlessAnswersAreCutOff(t *testing.T) {
	for _, v := range hostiletest.EndlessAnswers() {
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var written atomic.Int64
				client, target := piped(t, "http://receiver/", hostiletest.Floods(v.Text, v.Rest, &written))
				a := send(t, client, target)
				synctest.Wait()
				wantEndOf(t, a, hostiletest.Receiver{Verdict: v.Verdict, Reasons: []string{v.Reason}})
				if a.Took != 0 {
					t.Errorf("took %s, want it cut off at once", a.Took)
				}
				if written.Load() > v.Most {
					t.Errorf("read %d bytes, want at most %d", written.Load(), v.Most)
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
