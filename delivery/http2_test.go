package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stream is one request as a hand-written HTTP/2 server sees it.
type stream struct {
	*http2.Framer
	id uint32
}

func (s stream) headers(end bool, fields ...string) error {
	var block bytes.Buffer
	encode := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encode.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// speaksHTTP2 is a receiver that greets as it must, waits for a request's headers, and then does as it likes while
// everything else that comes is read and forgotten.
func speaksHTTP2(cert tls.Certificate, settings []http2.Setting, then func(stream)) func(net.Conn) {
	return func(conn net.Conn) {
		// No tickets: they would be written while the client writes its greeting, and a pipe buffers neither.
		c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, SessionTicketsDisabled: true})
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		started := make(chan struct{})
		go func() {
			defer close(started)
			_ = f.WriteSettings(settings...)
		}()
		acted := make(chan struct{}, 100)
		actors := 0
		var acting sync.Mutex // one writes at a time
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				break
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				<-started
				actors++
				go func() {
					defer func() { acted <- struct{}{} }()
					acting.Lock()
					defer acting.Unlock()
					then(stream{f, h.StreamID})
				}()
			}
		}
		conn.Close()
		<-started
		for range actors {
			<-acted
		}
	}
}

// hostileHTTP2 is a receiver that speaks HTTP/2 as none should.
type hostileHTTP2 struct {
	name     string
	settings []http2.Setting
	then     func(stream)
	verdict  Verdict
	reasons  []Reason
	most     time.Duration
}

func hostileHTTP2Receivers() []hostileHTTP2 {
	const whole = 5 * time.Second
	noWindow := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	long := strings.Repeat("a", 4000)
	return []hostileHTTP2{
		{"a proper answer", nil, func(s stream) {
			_ = s.headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a body that stalls after 200", nil, func(s stream) {
			_ = s.headers(false, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, whole},
		{"silence", nil, func(stream) {}, Again, []Reason{ReasonTimeout}, whole},
		{"a window of zero", noWindow, func(stream) {}, Again, []Reason{ReasonTimeout}, whole},
		{"GOAWAY before an answer", nil, func(s stream) {
			_ = s.WriteGoAway(s.id, http2.ErrCodeNo, nil)
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"GOAWAY with an error", nil, func(s stream) {
			_ = s.WriteGoAway(s.id, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"every stream refused", nil, func(s stream) {
			_ = s.WriteRSTStream(s.id, http2.ErrCodeRefusedStream)
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"a flood of RST", nil, func(s stream) {
			for range 10_000 {
				if s.WriteRSTStream(s.id, http2.ErrCodeInternal) != nil {
					return
				}
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"a flood of PING, then 200", nil, func(s stream) {
			for i := range 10_000 {
				if s.WritePing(false, [8]byte{byte(i)}) != nil {
					return
				}
			}
			_ = s.headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a flood of SETTINGS, then 200", nil, func(s stream) {
			for range 1_000 {
				if s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) != nil {
					return
				}
			}
			_ = s.headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a flood of CONTINUATION", nil, func(s stream) {
			err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: []byte{0x88}})
			for err == nil {
				err = s.WriteContinuation(s.id, false, hpack.AppendHuffmanString([]byte{0x00, 0x01, 'a'}, long))
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"interim answers without end", nil, func(s stream) {
			for s.headers(false, ":status", "103", "link", long) == nil {
				continue
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"headers of 15 KB", nil, func(s stream) {
			_ = s.headers(true, ":status", "200", "x-a", strings.Repeat("a", 15_000), "x-b", strings.Repeat("b", 100))
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a body of nothing but padding", nil, func(s stream) {
			_ = s.headers(false, ":status", "200")
			for range 10_000 {
				if s.WriteDataPadded(s.id, false, nil, make([]byte, 255)) != nil {
					return
				}
			}
		}, Delivered, []Reason{Reason2xx}, whole},
		{"no status", nil, func(s stream) {
			_ = s.headers(true, "content-length", "0")
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
	}
}

func TestHostileHTTP2Receivers(t *testing.T) {
	for _, v := range hostileHTTP2Receivers() {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				cert := ca.issue(t, "receiver.example", longLeft)
				serve := speaksHTTP2(cert, v.settings, v.then)
				client, target := piped(t, "https://receiver.example/", serve)
				client.transport.TLSClientConfig.RootCAs = ca.pool
				a := send(t, client, target)
				wantOneOf(t, a, v.verdict, v.reasons)
				if a.Took > v.most {
					t.Errorf("took %s, want at most %s", a.Took, v.most)
				}
			})
		})
	}
}

func wantOneOf(t testing.TB, a Attempt, v Verdict, reasons []Reason) {
	t.Helper()
	for _, r := range reasons {
		if a.Verdict == v && a.Reason == r {
			return
		}
	}
	t.Errorf("got %s %s (status %d, %q), want %s %v", a.Verdict, a.Reason, a.Status, a.Detail, v, reasons)
}

// A connection that died without a word must not go on swallowing attempts: the ping finds it, the next attempt dials.
func TestADeadHTTP2ConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		cert := ca.issue(t, "receiver.example", longLeft)
		dials := 0
		var dead bool // the first connection: everything written to it is lost
		t.Cleanup(func() { time.Sleep(2 * time.Minute) })
		client := mustClient(t, Options{RootCAs: ca.pool, DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials++
			first := dials == 1
			ours, theirs := net.Pipe()
			go speaksHTTP2(cert, nil, func(s stream) {
				if first && dead {
					return
				}
				_ = s.headers(true, ":status", "200")
			})(theirs)
			return ours, nil
		}})
		target := mustTarget(t, TargetSpec{URL: "https://receiver.example/"})
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		dead = true
		synctest.Wait()
		wantEnd(t, send(t, client, target), Again, ReasonTimeout)
		time.Sleep(6 * time.Second)
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		if dials != 2 {
			t.Errorf("got %d connections, want 2", dials)
		}
	})
}
