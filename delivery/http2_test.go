package delivery

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// hostileHTTP2 is a receiver that speaks HTTP/2 as none should.
type hostileHTTP2 struct {
	name     string
	settings []http2.Setting
	then     func(hostiletest.Stream)
	verdict  Verdict
	reasons  []Reason
	most     time.Duration
}

func hostileHTTP2Receivers() []hostileHTTP2 {
	const whole = 5 * time.Second
	noWindow := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	long := strings.Repeat("a", 4000)
	return []hostileHTTP2{
		{"a proper answer", nil, func(s hostiletest.Stream) {
			_ = s.Headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a body that stalls after 200", nil, func(s hostiletest.Stream) {
			_ = s.Headers(false, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, whole},
		{"silence", nil, func(hostiletest.Stream) {}, Again, []Reason{ReasonTimeout}, whole},
		{"a window of zero", noWindow, func(hostiletest.Stream) {}, Again, []Reason{ReasonTimeout}, whole},
		{"GOAWAY before an answer", nil, func(s hostiletest.Stream) {
			_ = s.WriteGoAway(s.ID, http2.ErrCodeNo, nil)
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"GOAWAY with an error", nil, func(s hostiletest.Stream) {
			_ = s.WriteGoAway(s.ID, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"every stream refused", nil, func(s hostiletest.Stream) {
			_ = s.WriteRSTStream(s.ID, http2.ErrCodeRefusedStream)
		}, Again, []Reason{ReasonTimeout, ReasonReset}, whole},
		{"a flood of RST", nil, func(s hostiletest.Stream) {
			for range 10_000 {
				if s.WriteRSTStream(s.ID, http2.ErrCodeInternal) != nil {
					return
				}
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"a flood of PING, then 200", nil, func(s hostiletest.Stream) {
			for i := range 10_000 {
				if s.WritePing(false, [8]byte{byte(i)}) != nil {
					return
				}
			}
			_ = s.Headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a flood of SETTINGS, then 200", nil, func(s hostiletest.Stream) {
			for range 1_000 {
				if s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) != nil {
					return
				}
			}
			_ = s.Headers(true, ":status", "200")
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a flood of CONTINUATION", nil, func(s hostiletest.Stream) {
			err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.ID, BlockFragment: []byte{0x88}})
			for err == nil {
				err = s.WriteContinuation(s.ID, false, hpack.AppendHuffmanString([]byte{0x00, 0x01, 'a'}, long))
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"interim answers without end", nil, func(s hostiletest.Stream) {
			for s.Headers(false, ":status", "103", "link", long) == nil {
				continue
			}
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
		{"headers of 15 KB", nil, func(s hostiletest.Stream) {
			_ = s.Headers(true, ":status", "200", "x-a", strings.Repeat("a", 15_000), "x-b", strings.Repeat("b", 100))
		}, Delivered, []Reason{Reason2xx}, 0},
		{"a body of nothing but padding", nil, func(s hostiletest.Stream) {
			_ = s.Headers(false, ":status", "200")
			for range 10_000 {
				if s.WriteDataPadded(s.ID, false, nil, make([]byte, 255)) != nil {
					return
				}
			}
		}, Delivered, []Reason{Reason2xx}, whole},
		{"no status", nil, func(s hostiletest.Stream) {
			_ = s.Headers(true, "content-length", "0")
		}, Again, []Reason{ReasonReset, ReasonProtocol}, 0},
	}
}

func TestHostileHTTP2Receivers(t *testing.T) {
	for _, v := range hostileHTTP2Receivers() {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t)
				cert := ca.issue(t, "receiver.example", longLeft)
				serve := hostiletest.SpeaksHTTP2(cert, v.settings, v.then)
				client, target := piped(t, "https://receiver.example/", serve)
				client.tls.RootCAs = ca.pool
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
			go hostiletest.SpeaksHTTP2(cert, nil, func(s hostiletest.Stream) {
				if first && dead {
					return
				}
				_ = s.Headers(true, ":status", "200")
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
