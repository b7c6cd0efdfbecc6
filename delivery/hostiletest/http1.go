// Package hostiletest holds receivers that do what none should, for every suite that
// has to live beside them. Each is a function that is given one connection, real or
// in memory, and returns when it is done with it; whoever accepted the connection
// closes it then.
package hostiletest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ReadRequest takes one request off a connection, body and all, or reports that none
// came.
func ReadRequest(r *bufio.Reader) bool {
	request, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err == nil
}

// Answers reads one request and then does as it likes.
func Answers(then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if ReadRequest(bufio.NewReader(c)) {
			then(c)
		}
	}
}

// Says writes a text and is done.
func Says(text string) func(net.Conn) {
	return Answers(func(c net.Conn) { _, _ = io.WriteString(c, text) })
}

// SaysAfter writes a text when d has passed, and is done.
func SaysAfter(d time.Duration, text string) func(net.Conn) {
	return Answers(func(c net.Conn) {
		time.Sleep(d)
		_, _ = io.WriteString(c, text)
	})
}

// Drips writes a text, then the rest one byte a second for as long as anybody reads
// it.
func Drips(text, rest string) func(net.Conn) {
	return Answers(func(c net.Conn) {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		for i := 0; ; i++ {
			time.Sleep(time.Second)
			if _, err := c.Write([]byte{rest[i%len(rest)]}); err != nil {
				return
			}
		}
	})
}

// Floods writes a text, then the rest again and again for as long as anybody reads
// it, and counts the bytes.
func Floods(text, rest string, written *atomic.Int64) func(net.Conn) {
	return Answers(func(c net.Conn) {
		n, err := io.WriteString(c, text)
		for written.Add(int64(n)); err == nil; written.Add(int64(n)) {
			n, err = io.WriteString(c, rest)
		}
	})
}

// Hangs reads and never answers.
func Hangs(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// NeverReads does nothing at all until the connection is closed.
func NeverReads(c net.Conn) {
	for c.SetDeadline(time.Time{}) == nil {
		time.Sleep(100 * time.Millisecond)
	}
}

// OK is the text of an answer 200 with a body, and the length it says that body has.
func OK(length int, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body)
}
