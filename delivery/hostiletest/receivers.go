package hostiletest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"strings"
	"time"
)

// How an attempt ends, in the words of delivery's verdicts and reasons; that package's
// own tests import this one, which so cannot import it.
const (
	isDelivered = "delivered"
	isAgain     = "again"
	isGone      = "gone"

	is2xx      = "2xx"
	is3xx      = "3xx"
	is4xx      = "4xx"
	is410      = "410"
	is429      = "429"
	is5xx      = "5xx"
	is503      = "503"
	isTimeout  = "timeout"
	isReset    = "reset"
	isTLS      = "tls"
	isProtocol = "protocol"
)

// Timed is a receiver that does what none should, how an attempt at it ends, and after
// how long exactly where nothing else takes time.
type Timed struct {
	Name            string
	Serve           func(net.Conn)
	Verdict, Reason string
	Took            time.Duration
}

// OneByOne are the receivers that need no more than a connection, of whatever kind:
// in memory and in fake time too.
func OneByOne() []Timed {
	const whole = 5 * time.Second
	line := strings.Repeat("a", 1000)
	return []Timed{
		{"silence", Hangs, isAgain, isTimeout, whole},
		{"never reads", NeverReads, isAgain, isTimeout, whole},
		{"1 byte/s headers", Drips("HTTP/1.1 200 OK\r\n", "X-A: a\r\n"), isAgain, isTimeout, whole},
		{"1 byte/s status line", Drips("", "HTTP/1.1 200 OK and so on and so on"), isAgain, isTimeout, whole},
		{"1 byte/s body after 200", Drips("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "b"), isDelivered, is2xx, whole},
		{"1 byte/s body after 500", Drips("HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n", "b"), isAgain, is5xx, whole},
		{"1 byte/s body after 410", Drips("HTTP/1.1 410 Gone\r\nContent-Length: 1000\r\n\r\n", "b"), isGone, is410, whole},
		{"body promised, none sent", Answers(func(c net.Conn) {
			_, _ = io.WriteString(c, OK(10, ""))
			Hangs(c)
		}), isDelivered, is2xx, whole},
		{"body shorter than promised", Says(OK(1000, "short")), isDelivered, is2xx, 0},
		{"body longer than promised", Says(OK(2, "longer than that")), isDelivered, is2xx, 0},
		{"204 with a body", Says("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), isDelivered, is2xx, 0},
		{"two lengths that differ", Says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), isAgain, isProtocol, 0},
		{"a length below 0", Says("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"), isAgain, isProtocol, 0},
		{"a broken chunk after 200", Says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), isDelivered, is2xx, 0},
		{"closes without a word", Says(""), isAgain, isReset, 0},
		{"closes before reading", func(net.Conn) {}, isAgain, isReset, 0},
		{"closes after the status line", Says("HTTP/1.1 200 OK\r\n"), isAgain, isReset, 0},
		{"closes within the status line", Says("HTTP/1.1 2"), isAgain, isProtocol, 0},
		{"status 000", Says("HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status 099", Says("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status 600", Says("HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status 999", Says("HTTP/1.1 999 Higher\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status 2000", Says("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status -20", Says("HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n"), isAgain, isProtocol, 0},
		{"status text", Says("HTTP/1.1 OK\r\n\r\n"), isAgain, isProtocol, 0},
		{"not HTTP", Says("SSH-2.0-OpenSSH_9.9\r\n"), isAgain, isProtocol, 0},
		{"HTTP/0.9", Says("<html>hello</html>"), isAgain, isProtocol, 0},
		{"HTTP/2 unasked", Says("\x00\x00\x12\x04\x00\x00\x00\x00\x00"), isAgain, isProtocol, 0},
		{"switching protocols", Answers(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			Hangs(c)
		}), isAgain, isProtocol, 0},
		{"one interim answer, then 200", Says("HTTP/1.1 102 Processing\r\n\r\n" + OK(0, "")), isDelivered, is2xx, 0},
		{"interim answers dripping", Drips("", "HTTP/1.1 102 P\r\n\r\n"), isAgain, isTimeout, whole},
		{"a header line of a broken kind", Says("HTTP/1.1 200 OK\r\n: x\r\n" + line + "\r\n\r\n"), isAgain, isProtocol, 0},
		{"a redirect to itself", Says("HTTP/1.1 308 Permanent Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), isAgain, is3xx, 0},
		{"410", Says("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), isGone, is410, 0},
		{"401", Says("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"), isAgain, is4xx, 0},
		{"429 for ten years", Says("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 315360000\r\nContent-Length: 0\r\n\r\n"), isAgain, is429, 0},
		{"429 for less than no time", Says("HTTP/1.1 429 Too Many Requests\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n"), isAgain, is429, 0},
		{"503 until long ago", Says("HTTP/1.1 503 Service Unavailable\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n"), isAgain, is503, 0},
		{"503 until it is time", Says("HTTP/1.1 503 Service Unavailable\r\nRetry-After: when it is time\r\nContent-Length: 0\r\n\r\n"), isAgain, is503, 0},
		{"a gzip bomb", Says("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed(32<<20)), isDelivered, is2xx, 0},
		{"closes on reuse", closesOnReuse, isDelivered, is2xx, 0},
		{"a 2xx just in time", SaysAfter(4990*time.Millisecond, OK(2, "ok")), isDelivered, is2xx, 4990 * time.Millisecond},
		{"a 2xx just too late", SaysAfter(5010*time.Millisecond, OK(2, "ok")), isAgain, isTimeout, whole},
	}
}

// packed is a text of zeros that is n long when somebody inflates it.
func packed(n int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, n))
	_ = z.Close()
	return b.String()
}

// closesOnReuse answers one request as it should, and closes when the next one comes.
func closesOnReuse(c net.Conn) {
	r := bufio.NewReader(c)
	if ReadRequest(r) {
		_, _ = io.WriteString(c, OK(2, "ok"))
		_, _ = r.ReadByte()
	}
}
