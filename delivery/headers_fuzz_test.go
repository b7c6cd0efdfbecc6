package delivery

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"
)

// FuzzHeaders builds requests from whatever an owner and a publisher may write,
// puts them on the wire and reads them back: what is sent is what was meant, one
// request with our own headers as they should be, or nothing is sent.
func FuzzHeaders(f *testing.F) {
	f.Add("a secret", "Authorization", "Bearer x", "r-1", "response.completed", "https://example.com/a?b=c")
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "x-popsee-signature", "sha256=00", "r\r\nX-Evil: 1", "k", "https://example.com/\r\n")
	f.Add("s", "Content-Length", "0", "r", "k", "https://EXAMPLE.com:8443//../%2e")
	f.Add("s", "Transfer-Encoding", "chunked", "\x00", "", "https://example.com")
	f.Add("s", "X-A", "a\nb", "é", "k", "https://例え.example/")
	f.Fuzz(func(t *testing.T, secret, name, value, id, kind, url string) {
		s, err := NewSecret(secret)
		if err != nil {
			return
		}
		target, err := NewTarget(TargetSpec{Survey: "s1", URL: url, Secrets: []SecretSpec{{Secret: s}}, Headers: map[string]string{name: value}}, Rules{})
		if err != nil {
			return
		}
		e := testEvent()
		e.ID, e.Kind = id, kind
		client := mustClient(t, Options{})
		c := &call{client: client, target: target, event: e}
		if !c.sendable(Meta{Number: 1}) {
			return
		}
		c.headers.build(target, &e, Meta{Number: 1}, time.Unix(1700000000, 0))
		var viaNetHTTP bytes.Buffer
		if err := c.request(context.Background()).Write(&viaNetHTTP); err != nil {
			t.Fatalf("net/http refuses what we would send: %v", err)
		}
		wantOneRequest(t, &viaNetHTTP, c, s)
		wantOneRequest(t, bytes.NewBuffer(append(c.appendHead(nil), e.Body...)), c, s)
	})
}

func wantOneRequest(t *testing.T, wire *bytes.Buffer, c *call, s Secret) {
	t.Helper()
	e, target := &c.event, c.target
	{
		r := bufio.NewReader(wire)
		got, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("what is sent cannot be read: %v", err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(got.Body); err != nil || !bytes.Equal(body.Bytes(), e.Body) {
			t.Errorf("the body is %q: %v", body.Bytes(), err)
		}
		if r.Buffered() != 0 || wire.Len() != 0 {
			t.Error("more than one request was sent")
		}
		if got.Method != http.MethodPost || got.Host != target.url.Host {
			t.Errorf("%s to %s", got.Method, got.Host)
		}
		for _, own := range []string{HeaderSignature, HeaderDelivery, HeaderEvent, HeaderAttempt, HeaderStandardID, HeaderStandardTimestamp, HeaderStandardSignature} {
			if n := len(got.Header.Values(own)); n != 1 {
				t.Errorf("%s is there %d times", own, n)
			}
		}
		if err := Verify(s, got.Header.Get(HeaderSignature), body.Bytes()); err != nil {
			t.Errorf("the signature does not verify: %v", err)
		}
		if n := len(got.Header); n > 11 { // ours, Content-Type, Content-Length, User-Agent and the owner's one
			t.Errorf("%d headers: %v", n, got.Header)
		}
	}
}
