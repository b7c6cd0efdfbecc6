package delivery

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func insecure() Options { return Options{Rules: Rules{AllowInsecure: true}} }

// secure starts an HTTPS receiver that a client with safe rules trusts and may reach.
func secure(t testing.TB, h http.HandlerFunc, change func(*httptest.Server)) (*Client, *Target) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = quiet()
	if change != nil {
		change(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	rules := Rules{Allow: loopback}
	return mustClient(t, Options{Rules: rules, RootCAs: pool}), mustTargetUnder(t, TargetSpec{URL: server.URL + "/hook"}, rules)
}

func TestSendDeliversTheBytesAndSaysWhatHappened(t *testing.T) {
	type request struct {
		method, path, proto string
		header              http.Header
		body                string
		length              int64
	}
	got := make(chan request, 1)
	addr := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Method, r.URL.RequestURI(), r.Proto, r.Header, string(body), r.ContentLength}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thank you")
	})
	target := mustTarget(t, TargetSpec{URL: "http://" + addr.String() + "/a%2Fb?x=1", Revision: 7})
	e := testEvent()
	e.Body = []byte("{\"emoji\":\"😀\",\"escaped\":\"\\u00e9\\/\",\"n\":9007199254740993,\r\n \"x\" : 1.0}\n")
	before := time.Now()
	a := mustClient(t, insecure()).Send(t.Context(), target, e, Meta{Number: 3, Replay: "rp", Test: true})

	r := <-got
	if r.method != "POST" || r.path != "/a%2Fb?x=1" || r.body != string(e.Body) || r.length != int64(len(e.Body)) {
		t.Errorf("got %s %s with %d bytes %q", r.method, r.path, r.length, r.body)
	}
	if err := Verify(mustSecret(t, testSecret), r.header.Get(HeaderSignature), []byte(r.body)); err != nil {
		t.Errorf("the receiver's check: %v", err)
	}
	for _, unwanted := range []string{"Accept-Encoding", "Idempotency-Key", "Transfer-Encoding", "Cookie"} {
		if v := r.header.Get(unwanted); v != "" {
			t.Errorf("%s: %s was sent", unwanted, v)
		}
	}
	if a.Started.Before(before) || a.Took <= 0 || a.Phases.Connect <= 0 || a.Phases.FirstByte <= 0 || a.Phases.Reused || a.Phases.TLS != 0 {
		t.Errorf("times: got %+v", a)
	}
	a.Started, a.Took, a.Phases = time.Time{}, 0, Phases{}
	want := Attempt{
		Survey: "s1", EventID: "r-1", Host: addr.String(), Revision: 7, Number: 3, Replay: "rp", Test: true,
		Status: 202, Verdict: Delivered, Reason: Reason2xx, Snippet: "thank you",
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("attempt (-want +got):\n%s", diff)
	}
}

func TestSendOverTLS(t *testing.T) {
	for name, v := range map[string]struct {
		http2 bool
		proto string
	}{"HTTP/1.1": {false, "HTTP/1.1"}, "HTTP/2": {true, "HTTP/2.0"}} {
		t.Run(name, func(t *testing.T) {
			proto := make(chan string, 2)
			client, target := secure(t, func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if Verify(mustSecret(t, testSecret), r.Header.Get(HeaderSignature), body) != nil {
					t.Error("the signature does not verify")
				}
				proto <- r.Proto
			}, func(s *httptest.Server) { s.EnableHTTP2 = v.http2 })
			first, second := send(t, client, target), send(t, client, target)
			wantEnd(t, first, Delivered, Reason2xx)
			wantEnd(t, second, Delivered, Reason2xx)
			if got := <-proto; got != v.proto {
				t.Errorf("got %s, want %s", got, v.proto)
			}
			if first.Phases.TLS <= 0 || first.Phases.Reused || !second.Phases.Reused || second.Phases.TLS != 0 {
				t.Errorf("phases: got %+v then %+v", first.Phases, second.Phases)
			}
		})
	}
}

func TestSendRefusesWhatTLSCannotProve(t *testing.T) {
	handler := func(http.ResponseWriter, *http.Request) { t.Error("an event reached a receiver that proved nothing") }
	t.Run("self-signed", func(t *testing.T) {
		_, target := secure(t, handler, nil)
		wantEnd(t, send(t, mustClient(t, Options{Rules: Rules{Allow: loopback}}), target), Again, ReasonTLS)
	})
	t.Run("wrong name", func(t *testing.T) {
		client, target := secure(t, handler, nil)
		_, port, _ := net.SplitHostPort(target.Host())
		other := mustTargetUnder(t, TargetSpec{URL: "https://127.0.0.9:" + port}, Rules{Allow: loopback})
		wantEnd(t, send(t, redirectDial(t, client, target), other), Again, ReasonTLS)
	})
	t.Run("expired", func(t *testing.T) {
		ca := hostiletest.NewAuthority(t)
		client, target := secure(t, handler, func(s *httptest.Server) {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1", time.Now().Add(-time.Hour))}}
		})
		client.tls.RootCAs = ca.Pool
		wantEnd(t, send(t, client, target), Again, ReasonTLS)
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		client, target := secure(t, handler, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // the test is about it
		})
		wantEnd(t, send(t, client, target), Again, ReasonTLS)
	})
	t.Run("plain HTTP on an https URL", func(t *testing.T) {
		addr := receiver(t, "127.0.0.1:0", handler)
		target := mustTarget(t, TargetSpec{URL: "https://" + addr.String()})
		wantEnd(t, send(t, mustClient(t, insecure()), target), Again, ReasonTLS)
	})
}

// redirectDial gives a client with the same trust that reaches target's receiver whatever it dials.
func redirectDial(t testing.TB, c *Client, target *Target) *Client {
	t.Helper()
	var d net.Dialer
	return mustClient(t, Options{RootCAs: c.tls.RootCAs, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, target.Host())
	}})
}

func TestSendNeverFollowsRedirects(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			trap := hostiletest.NewCanary(t, "127.0.0.1:0")
			var requests atomic.Int64
			addr := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Location", "http://"+trap.Addr.String()+"/")
				w.WriteHeader(status)
			})
			target := mustTarget(t, TargetSpec{URL: "http://" + addr.String()})
			client := mustClient(t, insecure())
			wantEnd(t, send(t, client, target), Again, Reason3xx)
			if n := requests.Load(); n != 1 {
				t.Errorf("got %d requests, want 1", n)
			}
			trap.Untouched(t)
			send(t, client, mustTarget(t, TargetSpec{URL: "http://" + trap.Addr.String() + "/"})) // the guard is open
			trap.Touched(t)
		})
	}
}

func TestSendJudgesByTheStatusAlone(t *testing.T) {
	for status, want := range map[int]struct {
		verdict Verdict
		reason  Reason
		after   time.Duration
	}{
		200: {Delivered, Reason2xx, 0},
		204: {Delivered, Reason2xx, 0},
		299: {Delivered, Reason2xx, 0},
		400: {Again, Reason4xx, 0},
		401: {Again, Reason4xx, 0},
		404: {Again, Reason4xx, 0},
		408: {Again, Reason408, 0},
		410: {Gone, Reason410, 0},
		425: {Again, Reason425, 0},
		429: {Again, Reason429, 7 * time.Second},
		500: {Again, Reason5xx, 0},
		502: {Again, Reason502, 0},
		503: {Again, Reason503, 7 * time.Second},
		504: {Again, Reason504, 0},
		599: {Again, Reason5xx, 0},
		999: {Again, ReasonProtocol, 0},
	} {
		addr := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				_, _ = io.WriteString(w, `{"ok":false,"error":"it says"}`)
			}
		})
		a := send(t, mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + addr.String()}))
		wantEnd(t, a, want.verdict, want.reason)
		if a.Status != status || a.After != want.after {
			t.Errorf("%d: got status %d after %s, want %s", status, a.Status, a.After, want.after)
		}
	}
}

func TestSendKeepsAConnectionOnlyWhenTheBodyIsShort(t *testing.T) {
	for name, v := range map[string]struct {
		size    int
		chunked bool
		reused  bool
	}{
		"none":              {0, false, true},
		"small":             {100, false, true},
		"chunked":           {5000, true, true},
		"exactly 64 KiB":    {64 << 10, false, true},
		"64 KiB in chunks":  {64 << 10, true, true},
		"more":              {64<<10 + 1, false, false},
		"much more, chunks": {1 << 20, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			addr := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
				if !v.chunked {
					w.Header().Set("Content-Length", fmt.Sprint(v.size))
				} else {
					_ = http.NewResponseController(w).Flush()
				}
				_, _ = w.Write(bytes.Repeat([]byte("x"), v.size))
			})
			client, target := mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + addr.String()})
			first, second := send(t, client, target), send(t, client, target)
			wantEnd(t, first, Delivered, Reason2xx)
			wantEnd(t, second, Delivered, Reason2xx)
			if second.Phases.Reused != v.reused {
				t.Errorf("reused: got %t, want %t", second.Phases.Reused, v.reused)
			}
			if want := min(v.size, 2<<10); len(first.Snippet) != want {
				t.Errorf("snippet: got %d bytes, want %d", len(first.Snippet), want)
			}
		})
	}
}

func TestSendInflatesNothing(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(bytes.Repeat([]byte("bomb"), 2<<20))
	_ = z.Close()
	bombs := func(version int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != version {
				t.Errorf("asked with %s, want HTTP/%d", r.Proto, version)
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}
	}
	plain := mustTarget(t, TargetSpec{URL: "http://" + receiver(t, "127.0.0.1:0", bombs(1)).String()})
	over1, target1 := secure(t, bombs(1), nil)
	over2, target2 := secure(t, bombs(2), func(s *httptest.Server) { s.EnableHTTP2 = true })
	for name, v := range map[string]struct {
		client *Client
		target *Target
	}{"plain": {mustClient(t, insecure()), plain}, "over TLS": {over1, target1}, "over HTTP/2": {over2, target2}} {
		t.Run(name, func(t *testing.T) {
			a := send(t, v.client, v.target)
			wantEnd(t, a, Delivered, Reason2xx)
			if len(a.Snippet) > 2<<10 || !strings.HasPrefix(a.Snippet, "\uFFFD\uFFFD") || strings.Contains(a.Snippet, "bomb") {
				t.Errorf("snippet: got %d bytes, %.20q, want the packed bytes", len(a.Snippet), a.Snippet)
			}
		})
	}
}

// A receiver that prints all it was sent, as debugging ones do, must not carry secrets into our records.
func TestSendKeepsSecretsOutOfTheAttempt(t *testing.T) {
	addr := receiver(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s %s %v\n%s", r.Method, r.RequestURI, r.Header, testSecret)
		_ = json.NewEncoder(w).Encode(r.Header)
	})
	target := mustTarget(t, TargetSpec{
		URL:     "http://" + addr.String() + "/hooks/T000/B000/path-token?key=query-token",
		Headers: map[string]string{"Authorization": "Bearer header-token"},
		Secrets: []SecretSpec{{Secret: mustSecret(t, testSecret)}, {Secret: mustSecret(t, vectorWhsec)}},
	})
	e := testEvent()
	a := mustClient(t, insecure()).Send(t.Context(), target, e, Meta{})
	wantEnd(t, a, Again, Reason5xx)
	assertNoSecret(t, a, testSecret, vectorWhsec, "path-token", "query-token", "header-token",
		strings.TrimPrefix(Sign(mustSecret(t, testSecret), e.Body), "sha256="),
		string(newKey(testSecret).standard(nil, e.ID, a.Started.Unix(), e.Body))[len("v1,"):])
	if !strings.Contains(a.Snippet, "[redacted]") || !strings.Contains(a.Snippet, "response.completed") {
		t.Errorf("snippet: got %q, want the rest of what it said", a.Snippet)
	}
}

func TestSendToNobody(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	a := send(t, mustClient(t, insecure()), mustTarget(t, TargetSpec{URL: "http://" + addr}))
	wantEnd(t, a, Again, ReasonRefused)
	if a.Detail != "dial: connect: connection refused" {
		t.Errorf("detail: got %q", a.Detail)
	}
}

// The URL passed when it was set; what counts is what the client may dial now.
func TestGuardJudgesAtTheDial(t *testing.T) {
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	target := mustTarget(t, TargetSpec{URL: "http://" + trap.Addr.String()})
	own := insecure()
	own.Own = []netip.AddrPort{trap.Addr}
	for name, o := range map[string]Options{"safe rules": {}, "our own listener": own} {
		a := send(t, mustClient(t, o), target)
		wantEnd(t, a, Again, ReasonBlocked)
		if !strings.Contains(a.Detail, "address blocked") || strings.Contains(a.Detail, "127.0.0.1") {
			t.Errorf("%s: detail: got %q, want the reason without the address", name, a.Detail)
		}
	}
	trap.Untouched(t)
	send(t, mustClient(t, insecure()), target)
	trap.Touched(t)
}

func TestAttemptLogsTheHostAndNothingElseOfTheURL(t *testing.T) {
	var line bytes.Buffer
	log := zerolog.New(&line)
	a := Attempt{
		Survey: "s1", EventID: "r-1", Host: "example.com:443", Number: 2, Replay: "rp", Test: true, Took: 1500 * time.Microsecond,
		Phases: Phases{DNS: time.Millisecond, Reused: true}, Status: 503, Verdict: Again, Reason: Reason503, After: time.Second,
		Detail: "why", Snippet: "what it said",
	}
	log.Info().EmbedObject(a).Msg("attempt")
	want := `{"level":"info","survey":"s1","event":"r-1","host":"example.com:443","attempt":2,"verdict":"again","reason":"503","took":1.5,` +
		`"status":503,"replay":"rp","test":true,"retry_after":1000,"detail":"why","reused":true,"dns":1,"message":"attempt"}` + "\n"
	if got := line.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}
