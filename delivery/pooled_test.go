package delivery

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime/debug"
	"testing"
)

// TestACallServesAgainWhereNobodyElseHasSeenIt: a dial may go on when its attempt is over,
// and net/http may still be writing; what they hold must not become another attempt.
func TestACallServesAgainWhereNobodyElseHasSeenIt(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties the pool
	for name, v := range map[string]struct {
		http2 bool
		calls []int // made in all after each attempt
	}{
		"HTTP/1.1": {false, []int{1, 2, 2, 2}}, // the first dials
		"HTTP/2":   {true, []int{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			client, target := secure(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) { s.EnableHTTP2 = v.http2 })
			made := 0
			client.calls.New = func() any { made++; return new(call) }
			for i, want := range v.calls {
				wantEnd(t, send(t, client, target), Delivered, Reason2xx)
				if made < want || made > want && !poolsForget {
					t.Errorf("after %d attempts %d calls are made, want %d", i+1, made, want)
				}
			}
		})
	}
}

func TestACallThatServesAgainIsEmpty(t *testing.T) {
	client, target := secure(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(HeaderTest) != "" {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte("not now"))
		}
	}, nil)
	send(t, client, target)
	all := testEvent()
	all.Traceparent, all.Tracestate = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b"
	a := client.Send(t.Context(), target, all, Meta{Number: 9, Replay: "rp", Test: true})
	if !a.Phases.Reused || a.Snippet != "not now" || a.After == 0 {
		t.Fatalf("got %+v, want an attempt over the kept connection that leaves everything behind", a)
	}
	left := client.calls.Get().(*call)
	if !reflect.DeepEqual(left, new(call)) {
		t.Errorf("an attempt left %+v", left)
	}
}
