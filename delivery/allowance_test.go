package delivery

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// A receiver that floods a kept connection when its attempt is over costs us what one answer may, then its connection;
// the next attempt gets another.
func TestAFloodAfterTheAttemptEndsTheConnection(t *testing.T) {
	for name, frames := range map[string]func(hostiletest.Stream) error{
		"PING": func(s hostiletest.Stream) error { return s.WritePing(false, [8]byte{1}) },
		"SETTINGS": func(s hostiletest.Stream) error {
			return s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 9})
		},
		"interim answers": func(s hostiletest.Stream) error {
			return s.Headers(false, ":status", "103", "link", strings.Repeat("a", 4000))
		},
		"RST": func(s hostiletest.Stream) error { return s.WriteRSTStream(s.ID, http2.ErrCodeInternal) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := hostiletest.NewAuthority(t)
				cert := ca.Issue(t, "receiver.example", hostiletest.LongLeft)
				t.Cleanup(func() { time.Sleep(2 * time.Minute) })
				dials, sent := 0, 0
				client := mustClient(t, Options{RootCAs: ca.Pool, DialContext: func(context.Context, string, string) (net.Conn, error) {
					dials++
					ours, theirs := net.Pipe()
					go hostiletest.SpeaksHTTP2(cert, nil, func(s hostiletest.Stream) {
						_ = s.Headers(true, ":status", "200")
						for frames(s) == nil {
							sent++
						}
					})(theirs)
					return ours, nil
				}})
				target := mustTarget(t, TargetSpec{URL: "https://receiver.example/"})
				for range 3 {
					wantEnd(t, send(t, client, target), Delivered, Reason2xx)
					synctest.Wait()
					time.Sleep(time.Second)
				}
				if dials != 3 {
					t.Errorf("%d connections for 3 attempts: one is kept although it floods us", dials)
				}
				if most := 3 * 2 * allowanceBytes / 13; sent > most { // the smallest of the frames has 13 bytes
					t.Errorf("%d frames were taken, want at most %d", sent, most)
				}
			})
		})
	}
}

func TestAnAllowanceIsForTheAttemptsUnderWay(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	l := newLimited(ours)
	want := func(left int) {
		t.Helper()
		if l.left != left*allowanceBytes {
			t.Errorf("got %d, want %d attempts' worth", l.left/allowanceBytes, left)
		}
	}
	want(1)
	l.begin()
	want(1)
	l.begin()
	l.begin()
	want(3)
	l.end()
	want(2)
	for range 100 { // one attempt after the other, all but silent
		l.begin()
		l.end()
	}
	want(2)
	l.end()
	l.end()
	want(1)
	if !l.spend(allowanceBytes) || l.spend(1) {
		t.Error("more may be spent than was granted, or less")
	}
}

// A receiver that answers as much as is read, to many attempts at once over one connection, is not taken for a flood.
func TestLongAnswersToManyAttemptsAreNoFlood(t *testing.T) {
	client, target := secure(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("h", 30<<10))
		_, _ = w.Write(make([]byte, 1<<20))
	}, func(s *httptest.Server) { s.EnableHTTP2 = true })
	ends := make(chan Attempt)
	for range 60 {
		go func() { ends <- send(t, client, target) }()
	}
	for range 60 {
		wantEnd(t, <-ends, Delivered, Reason2xx)
	}
}
