package hostiletest

import (
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2 is a receiver that speaks HTTP/2 as none should, and how an attempt at it may
// end, and after how long at most.
type HTTP2 struct {
	Name     string
	Settings []http2.Setting
	Then     func(Stream)
	Verdict  string
	Reasons  []string
	Most     time.Duration
}

// OverHTTP2 are to be served with SpeaksHTTP2.
func OverHTTP2() []HTTP2 {
	const whole = 5 * time.Second
	noWindow := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	long := strings.Repeat("a", 4000)
	return []HTTP2{
		{"a proper answer", nil, func(s Stream) {
			_ = s.Headers(true, ":status", "200")
		}, isDelivered, []string{is2xx}, 0},
		{"a body that stalls after 200", nil, func(s Stream) {
			_ = s.Headers(false, ":status", "200")
		}, isDelivered, []string{is2xx}, whole},
		{"silence", nil, func(Stream) {}, isAgain, []string{isTimeout}, whole},
		{"a window of zero", noWindow, func(Stream) {}, isAgain, []string{isTimeout}, whole},
		{"GOAWAY before an answer", nil, func(s Stream) {
			_ = s.WriteGoAway(s.ID, http2.ErrCodeNo, nil)
		}, isAgain, []string{isTimeout, isReset}, whole},
		{"GOAWAY with an error", nil, func(s Stream) {
			_ = s.WriteGoAway(s.ID, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
		}, isAgain, []string{isTimeout, isReset}, whole},
		{"every stream refused", nil, func(s Stream) {
			_ = s.WriteRSTStream(s.ID, http2.ErrCodeRefusedStream)
		}, isAgain, []string{isTimeout, isReset}, whole},
		{"a flood of RST", nil, func(s Stream) {
			for range 10_000 {
				if s.WriteRSTStream(s.ID, http2.ErrCodeInternal) != nil {
					return
				}
			}
		}, isAgain, []string{isReset, isProtocol}, 0},
		{"a flood of PING, then 200", nil, func(s Stream) {
			for i := range 10_000 {
				if s.WritePing(false, [8]byte{byte(i)}) != nil {
					return
				}
			}
			_ = s.Headers(true, ":status", "200")
		}, isDelivered, []string{is2xx}, 0},
		{"a flood of SETTINGS, then 200", nil, func(s Stream) {
			for range 1_000 {
				if s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) != nil {
					return
				}
			}
			_ = s.Headers(true, ":status", "200")
		}, isDelivered, []string{is2xx}, 0},
		{"a flood of CONTINUATION", nil, func(s Stream) {
			err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.ID, BlockFragment: []byte{0x88}})
			for err == nil {
				err = s.WriteContinuation(s.ID, false, hpack.AppendHuffmanString([]byte{0x00, 0x01, 'a'}, long))
			}
		}, isAgain, []string{isReset, isProtocol}, 0},
		{"interim answers without end", nil, func(s Stream) {
			for s.Headers(false, ":status", "103", "link", long) == nil {
				continue
			}
		}, isAgain, []string{isReset, isProtocol}, 0},
		{"headers of 15 KB", nil, func(s Stream) {
			_ = s.Headers(true, ":status", "200", "x-a", strings.Repeat("a", 15_000), "x-b", strings.Repeat("b", 100))
		}, isDelivered, []string{is2xx}, 0},
		{"a body of nothing but padding", nil, func(s Stream) {
			_ = s.Headers(false, ":status", "200")
			for range 10_000 {
				if s.WriteDataPadded(s.ID, false, nil, make([]byte, 255)) != nil {
					return
				}
			}
		}, isDelivered, []string{is2xx}, whole},
		{"no status", nil, func(s Stream) {
			_ = s.Headers(true, "content-length", "0")
		}, isAgain, []string{isReset, isProtocol}, 0},
	}
}
