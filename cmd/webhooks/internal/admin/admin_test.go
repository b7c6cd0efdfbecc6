package admin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/cmd/webhooks/internal/admin"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/delivery/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type withHint struct{ error }

func (withHint) Hint() string { return "press the button" }

func serve(t *testing.T, o admin.Options) string {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	o.Metrics = prometheus.NewRegistry()
	s, err := admin.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealthSaysWhyAndWhatToDo(t *testing.T) {
	url := serve(t, admin.Options{
		Live:     func() error { return nil },
		Ready:    func() error { return withHint{errors.New("state was lost")} },
		Warnings: []string{"insecure endpoints are allowed"},
	})
	if status, body := get(t, url+"/livez"); status != 200 || !strings.Contains(body, `"status":"live"`) || !strings.Contains(body, "insecure") {
		t.Errorf("/livez: %d %s", status, body)
	}
	status, body := get(t, url+"/readyz")
	if status != 503 || !strings.Contains(body, "state was lost") || !strings.Contains(body, "press the button") || !strings.Contains(body, "insecure") {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// Whoever asks hears that it is not their mistake, and nothing of what was in hand.
func TestARequestThatPanicsIsAnswered(t *testing.T) {
	const planted = "planted-secret-of-an-owner"
	fails := func() error { panic("with " + planted) }
	reg := prometheus.NewRegistry()
	url := serve(t, admin.Options{
		Live: func() error { return nil }, Ready: fails, Panics: panics.New(zerolog.Nop(), reg),
		API: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errors.New(planted)) }),
	})
	for _, path := range []string{"/readyz", "/v1/surveys/s1/webhook"} {
		status, body := get(t, url+path)
		if status != 500 || !strings.Contains(body, "mistake of the service's own") {
			t.Errorf("%s: %d %s", path, status, body)
		}
		leaktest.Plant(t, planted).In(t, "the answer to "+path, []byte(body))
	}
	if status, _ := get(t, url+"/livez"); status != 200 {
		t.Errorf("afterwards /livez: %d", status)
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, m := range all[0].GetMetric() {
		counted += m.GetCounter().GetValue()
	}
	if counted != 2 {
		t.Errorf("%v panics are counted, want 2", counted)
	}
}

func TestTheTokenIsAskedForEverythingButHealth(t *testing.T) {
	const token = "a token of some length"
	ok := func() error { return nil }
	url := serve(t, admin.Options{Live: ok, Ready: ok, Token: token})
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 401, "/version": 401} {
		status, body := get(t, url+path)
		if status != want {
			t.Errorf("%s without the token: %d %s", path, status, body)
		}
		leaktest.Plant(t, token).In(t, "the answer to "+path, []byte(body))
	}
	for header, want := range map[string]int{
		"Bearer a token of some length": 200, "Bearer a token of some lengtH": 401, "Bearer ": 401, "a token of some length": 401,
		"Basic a token of some length": 401, "Bearer a token of some length ": 200, // HTTP trims what surrounds a value
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", header)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", header, resp.StatusCode, want)
		}
	}
}

func TestATakenPortIsSaidWithWhatToDo(t *testing.T) {
	url := serve(t, admin.Options{Live: func() error { return nil }, Ready: func() error { return nil }})
	_, err := admin.Start(t.Context(), admin.Options{Listen: strings.TrimPrefix(url, "http://"), Metrics: prometheus.NewRegistry()})
	var p *admin.Problem
	if !errors.As(err, &p) || !strings.Contains(p.Hint(), "--admin-listen") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNotServedIsNotFound(t *testing.T) {
	url := serve(t, admin.Options{Version: "v1", Live: func() error { return nil }, Ready: func() error { return nil }})
	if status, _ := get(t, url+"/debug/pprof/"); status != 404 {
		t.Errorf("pprof answers %d", status)
	}
	if status, body := get(t, url+"/version"); status != 200 || !strings.Contains(body, "v1") {
		t.Errorf("/version: %d %s", status, body)
	}
}
