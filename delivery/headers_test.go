package delivery

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

func buildHeader(t testing.TB, target *Target, m Meta, now time.Time) http.Header {
	t.Helper()
	return buildHeaderOf(t, target, m, now, "", "")
}

func buildHeaderOf(t testing.TB, target *Target, m Meta, now time.Time, traceparent, tracestate string) http.Header {
	t.Helper()
	e := testEvent()
	e.Traceparent, e.Tracestate = traceparent, tracestate
	c := &call{client: mustClient(t, Options{Version: "1.2.3"}), target: target, event: e}
	c.headers.build(target, &e, m, now)
	written := writtenHeader(t, c)
	delete(written, "Host")
	delete(written, "Content-Length")
	lower := http.Header{}
	for name, values := range written {
		lower[strings.ToLower(name)] = values
	}
	if diff := cmp.Diff(c.header(), lower); diff != "" {
		t.Errorf("over HTTP/2 and over HTTP/1.1 (-2 +1):\n%s", diff)
	}
	return written
}

// writtenHeader reads back what is written over HTTP/1.1, names as they are spelled.
func writtenHeader(t testing.TB, c *call) http.Header {
	t.Helper()
	head, ok := strings.CutSuffix(string(c.appendHead(nil)), "\r\n\r\n")
	if !ok {
		t.Fatal("the head does not end in an empty line")
	}
	h := http.Header{}
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		h[name] = append(h[name], value)
	}
	return h
}

// What is written by hand is what net/http writes.
func TestTheHeadIsWhatNetHTTPWrites(t *testing.T) {
	for _, url := range []string{
		"https://example.com", "https://example.com/", "https://example.com:8443/a%2Fb?x=1&y=%20", "http://127.0.0.1:8080/é?q=ü", "https://example.com?",
		"https://[2606:4700:4700::1111]:8443/x", "https://bücher.example/", "https://example.com./a//b", "https://EXAMPLE.com:443/",
	} {
		target := mustTarget(t, TargetSpec{URL: url, Headers: map[string]string{"x-b": "1", "authorization": "Bearer x"}})
		c := &call{client: mustClient(t, Options{}), target: target, event: testEvent()}
		c.headers.build(target, &c.event, Meta{Number: 1}, time.Unix(vectorAtUnix, 0))
		var theirs bytes.Buffer
		if err := c.request(t.Context()).Write(&theirs); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(theirs.String(), "\r\n")
		if got, _, _ := strings.Cut(string(c.appendHead(nil)), "\r\n"); got != first {
			t.Errorf("%s: got %q, want %q", url, got, first)
		}
		want, err := http.ReadRequest(bufio.NewReader(&theirs))
		if err != nil {
			t.Fatal(err)
		}
		if got := writtenHeader(t, c)["Host"]; !cmp.Equal(got, []string{want.Host}) {
			t.Errorf("%s: got host %q, want %q", url, got, want.Host)
		}
	}
}

// The names are compared as they are spelled on the wire, and nothing else may be there.
func TestHeadersAreTheContract(t *testing.T) {
	now := time.Unix(vectorAtUnix, 0)
	always := http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"Popsee-Webhooks/1.2.3"},
		"X-Popsee-Event":    {"response.completed"},
		"X-Popsee-Delivery": {"r-1"},
		"X-Popsee-Attempt":  {"1"},
	}
	signed := http.Header{
		"webhook-id":        {"r-1"},
		"webhook-timestamp": {"1700000000"},
	}
	signed["X-Popsee-Signature"] = []string{Sign(mustSecret(t, testSecret), testEvent().Body)}
	signed["webhook-signature"] = []string{string(newKey(testSecret).standard(nil, "r-1", vectorAtUnix, testEvent().Body))}
	unsigned := TargetSpec{URL: "https://example.com/", Secrets: []SecretSpec{}}
	for name, v := range map[string]struct {
		spec        TargetSpec
		meta        Meta
		parent, set string
		want        []http.Header
	}{
		"unsigned":           {unsigned, Meta{}, "", "", []http.Header{always}},
		"signed":             {TargetSpec{URL: "https://example.com/"}, Meta{Number: 1}, "", "", []http.Header{always, signed}},
		"the seventh":        {unsigned, Meta{Number: 7}, "", "", []http.Header{always, {"X-Popsee-Attempt": {"7"}}}},
		"a replay":           {unsigned, Meta{Replay: "rp1"}, "", "", []http.Header{always, {"X-Popsee-Replay": {"rp1"}}}},
		"a test":             {unsigned, Meta{Test: true}, "", "", []http.Header{always, {"X-Popsee-Test": {"true"}}}},
		"traced":             {unsigned, Meta{}, "00-a", "v=1", []http.Header{always, {"traceparent": {"00-a"}, "tracestate": {"v=1"}}}},
		"state without span": {unsigned, Meta{}, "", "v=1", []http.Header{always}},
		"extra ones": {
			TargetSpec{URL: "https://example.com/", Secrets: []SecretSpec{}, Headers: map[string]string{"authorization": "Bearer x"}},
			Meta{},
			"", "",
			[]http.Header{always, {"Authorization": {"Bearer x"}}},
		},
		"everything": {
			TargetSpec{URL: "https://example.com/", Headers: map[string]string{"x-a": "1"}},
			Meta{Number: 2, Replay: "rp1", Test: true},
			"00-a", "v=1",
			[]http.Header{always, signed, {
				"X-A": {"1"}, "X-Popsee-Attempt": {"2"}, "X-Popsee-Replay": {"rp1"}, "X-Popsee-Test": {"true"},
				"traceparent": {"00-a"}, "tracestate": {"v=1"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := http.Header{}
			for _, part := range v.want {
				maps.Copy(want, part)
			}
			got := buildHeaderOf(t, mustTarget(t, v.spec), v.meta, now, v.parent, v.set)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRotationSignsWithWhatIsLive(t *testing.T) {
	now := time.Unix(vectorAtUnix, 0)
	newest, older, gone := mustSecret(t, "newest"), mustSecret(t, "older"), mustSecret(t, "gone")
	target := mustTarget(t, TargetSpec{URL: "https://example.com/", Secrets: []SecretSpec{
		{Secret: newest},
		{Secret: older, ExpiresAt: now.Add(time.Hour)},
		{Secret: gone, ExpiresAt: now},
	}})
	standard := func(s Secret, at time.Time) string {
		return string(newKey(s.text()).standard(nil, "r-1", at.Unix(), testEvent().Body))
	}
	for name, v := range map[string]struct {
		at   time.Time
		want []Secret
	}{
		"before any expires":      {now.Add(-time.Second), []Secret{newest, older, gone}},
		"in the second it does":   {now, []Secret{newest, older}},
		"just before the next":    {now.Add(time.Hour - time.Second), []Secret{newest, older}},
		"when the newest is left": {now.Add(time.Hour), []Secret{newest}},
	} {
		t.Run(name, func(t *testing.T) {
			var h map[string][]string = buildHeader(t, target, Meta{}, v.at) // a header by the names it is sent with
			if got, want := h[HeaderSignature], []string{Sign(newest, testEvent().Body)}; !cmp.Equal(got, want) {
				t.Errorf("%s: got %q, want the newest secret's alone", HeaderSignature, got)
			}
			var want []string
			for _, s := range v.want {
				want = append(want, standard(s, v.at))
			}
			if got := h[HeaderStandardSignature]; !cmp.Equal(got, []string{strings.Join(want, " ")}) {
				t.Errorf("%s: got %q, want %q", HeaderStandardSignature, got, want)
			}
		})
	}
}

func TestNothingGoesOutUnsignedWhenEverySecretHasExpired(t *testing.T) {
	c := hostiletest.NewCanary(t, "127.0.0.1:0")
	expired := SecretSpec{Secret: mustSecret(t, testSecret), ExpiresAt: time.Now().Add(-time.Second)}
	live := SecretSpec{Secret: mustSecret(t, testSecret)}
	client := mustClient(t, insecure())
	wantEnd(t, send(t, client, mustTarget(t, TargetSpec{URL: "http://" + c.Addr.String(), Secrets: []SecretSpec{expired}})), Again, ReasonSecret)
	c.Untouched(t)
	send(t, client, mustTarget(t, TargetSpec{URL: "http://" + c.Addr.String(), Secrets: []SecretSpec{expired, live}}))
	c.Touched(t)
}

func TestAnEventThatFitsNoHeaderIsDead(t *testing.T) {
	c := hostiletest.NewCanary(t, "127.0.0.1:0")
	target := mustTarget(t, TargetSpec{URL: "http://" + c.Addr.String()})
	client := mustClient(t, Options{Rules: Rules{AllowInsecure: true}})
	for name, id := range map[string]string{"empty": "", "a line break": "a\r\nX-Evil: 1", "NUL": "a\x00"} {
		e := testEvent()
		e.ID = id
		a := client.Send(t.Context(), target, e, Meta{})
		if a.Verdict != Dead || a.Reason != ReasonEvent {
			t.Errorf("%s: got %s %s, want dead event", name, a.Verdict, a.Reason)
		}
	}
}
