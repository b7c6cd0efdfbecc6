package delivery

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// headFor writes what all HTTP/1.1 requests to a target begin with. Whatever it holds has been checked: see
// [Rules.CheckURL] and [CheckHeaders].
func headFor(u *url.URL, extra []field) []byte {
	head := append([]byte(http.MethodPost+" "), u.RequestURI()...)
	head = append(head, " HTTP/1.1\r\n"...)
	head = field{nameHost, u.Host}.append(head)
	head = field{nameContentType, contentType}.append(head)
	for _, f := range extra {
		head = f.append(head)
	}
	return head
}

func (f field) append(to []byte) []byte {
	to = append(append(to, f.name.http1...), ": "...)
	return append(append(to, f.value...), "\r\n"...)
}

// appendHead writes an attempt's head, the empty line after it included.
func (c *call) appendHead(to []byte) []byte {
	to = append(to, c.target.private.head...)
	to = field{nameUserAgent, c.client.agent}.append(to)
	for _, f := range c.headers.all() {
		to = f.append(to)
	}
	to = append(to, "Content-Length: "...)
	to = strconv.AppendInt(to, int64(len(c.event.Body)), 10)
	return append(to, "\r\n\r\n"...)
}

// request is the same for net/http, which speaks HTTP/2 alone. It is put together by hand: http.NewRequest would parse the URL again for every attempt.
func (c *call) request(ctx context.Context) *http.Request {
	r := http.Request{
		Method: http.MethodPost, URL: c.target.url, Host: c.target.url.Host, Header: c.header(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(c.event.Body)), Body: http.NoBody,
	}
	if len(c.event.Body) > 0 {
		r.Body, _ = c.body()
		r.GetBody = c.body
	}
	return r.WithContext(ctx)
}

func (c *call) header() http.Header {
	fields, extra := c.headers.all(), c.target.private.extra
	n := len(fields) + len(extra) + 2
	h, values := make(http.Header, n), make([]string, 0, n) // one allocation for the values of all
	set := func(f field) {
		values = append(values, f.value)
		h[f.name.http2] = values[len(values)-1 : len(values) : len(values)]
	}
	for _, f := range extra {
		set(f)
	}
	set(field{nameContentType, contentType})
	set(field{nameUserAgent, c.client.agent})
	for _, f := range fields {
		set(f)
	}
	return h
}

// body must be a NopCloser around a bytes.Reader: any other type makes net/http send the headers in a packet of their
// own, in case reading the body blocks.
func (c *call) body() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.event.Body)), nil
}
