package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// What comes on a kept connection before anything was asked is no answer to the next event: that one would be taken for
// delivered, and lost.
func TestAnAnswerNobodyAskedForAnswersNothing(t *testing.T) {
	for name, v := range map[string]struct {
		once string // what the first request is answered with, in one piece
		late string // what follows when the answer has been read
	}{
		"in one piece":                 {once: hostiletest.OK(2, "ok") + hostiletest.OK(2, "ok")},
		"later":                        {hostiletest.OK(2, "ok"), hostiletest.OK(2, "ok")},
		"behind a 204":                 {once: "HTTP/1.1 204 No Content\r\n\r\n" + hostiletest.OK(2, "ok")},
		"a body longer than it should": {once: hostiletest.OK(2, "ok and more")},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int64
			wrote := make(chan struct{}, 10)
			at := hostiletest.Listen(t, func(c net.Conn) {
				if connections.Add(1) > 1 {
					hostiletest.Says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")(c)
					return
				}
				hostiletest.Answers(func(c net.Conn) {
					_, _ = io.WriteString(c, v.once)
					time.Sleep(10 * time.Millisecond) // real time, on a real socket: the first answer is read by then
					_, _ = io.WriteString(c, v.late)
					wrote <- struct{}{}
					hostiletest.Hangs(c)
				})(c)
			})
			client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + at.String()})
			first := send(t, client, target)
			if first.Verdict != Delivered {
				t.Fatalf("got %+v", first)
			}
			<-wrote
			second := send(t, client, target)
			wantEnd(t, second, Again, Reason5xx)
			if second.Phases.Reused {
				t.Error("the connection was used again")
			}
		})
	}
}

// A receiver that answers before it has read a long event is heard, although it never reads the rest.
func TestAnEarlyAnswerToALongEvent(t *testing.T) {
	at := hostiletest.Listen(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 100))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		hostiletest.NeverReads(c)
	})
	e := testEvent()
	e.Body = bytes.Repeat([]byte("x"), 16<<20) // more than any buffer on the way takes
	a := mustClient(t, insecure()).Send(t.Context(), mustTarget(t, TargetSpec{URL: "http://" + at.String()}), e, Meta{})
	wantEnd(t, a, Again, Reason4xx)
	if a.Took > 4*time.Second {
		t.Errorf("took %s", a.Took)
	}
}

func TestLongEventsKeepTheirConnection(t *testing.T) {
	var got atomic.Int64
	at := receiver(t, "127.0.0.1:0", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n)
	})
	client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + at.String()})
	e := testEvent()
	for i, size := range []int{inlineBytes, inlineBytes + 1, 1 << 20, 0, 1} {
		e.Body = bytes.Repeat([]byte("x"), size)
		got.Store(0)
		a := client.Send(t.Context(), target, e, Meta{})
		wantEnd(t, a, Delivered, Reason2xx)
		if got.Load() != int64(size) || a.Phases.Reused != (i > 0) {
			t.Errorf("%d bytes: %d came, reused %t", size, got.Load(), a.Phases.Reused)
		}
	}
}

// A host may change what it speaks, either way, and no attempt is lost by it.
func TestAHostThatChangesItsProtocol(t *testing.T) {
	ca := hostiletest.NewAuthority(t)
	var proto atomic.Value
	serve := func(at string, http2 bool) (*httptest.Server, string) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) }))
		server.Listener.Close()
		server.Listener, server.EnableHTTP2, server.Config.ErrorLog = l, http2, quiet()
		server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1", hostiletest.LongLeft)}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		return server, l.Addr().String()
	}
	server, at := serve("127.0.0.1:0", true)
	rules := Rules{Allow: loopback}
	client := mustClient(t, Options{Rules: rules, RootCAs: ca.Pool})
	target := mustTargetUnder(t, TargetSpec{URL: "https://" + at}, rules)
	for i, want := range []string{"HTTP/2.0", "HTTP/1.1", "HTTP/1.1", "HTTP/2.0"} {
		if i > 0 {
			server.Close()
			server, _ = serve(at, want == "HTTP/2.0")
		}
		client.hangUp()
		// A connection whose last stream is still being tidied up is no idle one yet, and stays until its end is noticed.
		for range 100 {
			if send(t, client, target).Verdict == Delivered {
				break
			}
			client.hangUp()
		}
		for range 3 {
			wantEnd(t, send(t, client, target), Delivered, Reason2xx)
			if got := proto.Load(); got != want {
				t.Errorf("%d: got %s, want %s", i, got, want)
			}
		}
		if knows := client.http2.at(target.route); knows != (want == "HTTP/2.0") {
			t.Errorf("%d: HTTP/2 is remembered: %t", i, knows)
		}
	}
	server.Close()
}

// When the service stops, an attempt that waits for its answer ends at once, and is nobody's fault.
func TestAnAttemptEndsWithItsCaller(t *testing.T) {
	for name, url := range map[string]string{"HTTP/1.1": "http://receiver.example/", "in the handshake": "https://receiver.example/"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target := piped(t, url, hostiletest.Hangs)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(errors.New("stopping")) })
				a := client.Send(ctx, target, testEvent(), Meta{})
				wantEnd(t, a, Ours, ReasonCanceled)
				if a.Took != time.Second {
					t.Errorf("took %s", a.Took)
				}
			})
		})
	}
}
