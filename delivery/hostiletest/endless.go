package hostiletest

import "strings"

// Endless is an answer without an end, and how many bytes of it may be read.
type Endless struct {
	Name            string
	Text, Rest      string
	Verdict, Reason string
	Most            int64
}

// EndlessAnswers are to be sent with Floods.
func EndlessAnswers() []Endless {
	line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	chunk := "3e8\r\n" + strings.Repeat("c", 1000) + "\r\n"
	return []Endless{
		{"endless headers", "HTTP/1.1 200 OK\r\n", line, isAgain, isProtocol, 128 << 10},
		{"one header of 10 MB", "HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("a", 1000), isAgain, isProtocol, 128 << 10},
		{"endless status line", "HTTP/1.1 200 ", strings.Repeat("O", 1000), isAgain, isProtocol, 128 << 10},
		{"endless interim answers", "", "HTTP/1.1 103 Early Hints\r\n" + line + "\r\n", isAgain, isProtocol, 128 << 10},
		{"endless small interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n", isAgain, isProtocol, 128 << 10},
		{"a body of 10 GB", "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", strings.Repeat("b", 1000), isDelivered, is2xx, 16 << 10},
		{"a body without end", "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("b", 1000), isDelivered, is2xx, 80 << 10},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, isDelivered, is2xx, 80 << 10},
		{"500 with chunks without end", "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, isAgain, is5xx, 80 << 10},
		{"a trailer without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n0\r\n", line, isDelivered, is2xx, 128 << 10},
		{"a chunk extension without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "aaaaaaaa", isDelivered, is2xx, 128 << 10},
	}
}
