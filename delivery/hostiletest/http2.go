package hostiletest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Stream is one request as a hand-written HTTP/2 server sees it.
type Stream struct {
	*http2.Framer
	ID uint32
}

// Headers answers, or goes on answering, with the fields, names and values in turn.
func (s Stream) Headers(end bool, fields ...string) error {
	var block bytes.Buffer
	encode := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encode.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.ID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// SpeaksHTTP2 is a receiver that greets as it must, waits for a request's headers, and then does as it likes while
// everything else that comes is read and forgotten.
func SpeaksHTTP2(cert tls.Certificate, settings []http2.Setting, then func(Stream)) func(net.Conn) {
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
					then(Stream{f, h.StreamID})
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
