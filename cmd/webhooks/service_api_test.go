package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	verrors "github.com/pb33f/libopenapi-validator/errors"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/api"
	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

const apiToken = "a token of some length"

// apiClient speaks to the API of a real service, and holds every exchange to the
// OpenAPI document.
type apiClient struct {
	base     string
	validate validator.Validator
	log      *bytes.Buffer
}

func openAPI(t *testing.T) validator.Validator {
	t.Helper()
	doc, err := libopenapi.NewDocument(api.Document())
	must(t, err)
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return v
}

func TestTheOpenAPIDocumentIsValid(t *testing.T) {
	if ok, errs := openAPI(t).ValidateDocument(); !ok {
		t.Error(said(errs))
	}
}

func said(errs []*verrors.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "%s: %s\n", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "  %s: %s\n", s.FieldPath, s.Reason)
		}
	}
	return b.String()
}

// withAPI runs a whole service, and gives a client to its API.
func withAPI(t *testing.T) (*service, *apiClient) {
	t.Helper()
	c := &apiClient{validate: openAPI(t), log: &bytes.Buffer{}}
	address, err := newPorts().free()
	must(t, err)
	settings := testSettings(t.TempDir())
	settings.Admin = config.AdminSettings{Listen: address, Token: apiToken}
	v, err := openService(t.Context(), settings, noEnv, zerolog.New(zerolog.SyncWriter(c.log)))
	must(t, err)
	c.base = "http://" + address
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
		must(t, v.close())
		for _, secret := range []string{"correct horse", "Bearer of the owner", apiToken} {
			if strings.Contains(c.log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
	return v, c
}

// answered is one answer of the API.
type answered struct {
	status   int
	etag     string
	location string
	body     string
}

// is says what an answer is, in one word more than its status for a problem.
func (a answered) wantStatus(t *testing.T, want int) answered {
	t.Helper()
	if a.status != want {
		t.Fatalf("answered %d, want %d: %s", a.status, want, a.body)
	}
	return a
}

func (a answered) into(t *testing.T, v any) {
	t.Helper()
	must(t, json.Unmarshal([]byte(a.body), v))
}

// do sends a request that must be as the document says, unless it is meant to be
// wrong, and checks that the answer is.
func (c *apiClient) do(t *testing.T, method, path, body string, headers ...string) answered {
	t.Helper()
	req := c.request(t, method, path, body, headers...)
	if ok, errs := c.validate.ValidateHttpRequest(req); !ok {
		t.Errorf("%s %s is not as the document says:\n%s", method, path, said(errs))
	}
	return c.send(t, req)
}

// wrong is do for a request that breaks the document.
func (c *apiClient) wrong(t *testing.T, method, path, body string, headers ...string) answered {
	t.Helper()
	return c.send(t, c.request(t, method, path, body, headers...))
}

func (c *apiClient) request(t *testing.T, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (c *apiClient) send(t *testing.T, req *http.Request) answered {
	t.Helper()
	if req.GetBody != nil {
		body, err := req.GetBody()
		must(t, err)
		req.Body = body
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if ok, errs := c.validate.ValidateHttpResponse(req, resp); !ok {
		t.Errorf("%s %s: the answer %d %s is not as the document says:\n%s", req.Method, req.URL.Path, resp.StatusCode, body, said(errs))
	}
	return answered{resp.StatusCode, resp.Header.Get("ETag"), resp.Header.Get("Location"), string(body)}
}

const hook = "/v1/surveys/s1/webhook"

func TestAWebhookIsSetReadChangedAndRemovedOverHTTP(t *testing.T) {
	_, c := withAPI(t)
	c.do(t, "GET", hook, "").wantStatus(t, 404)
	c.do(t, "PUT", hook, `{"url":"https://example.com/a"}`, "If-Match", "*").wantStatus(t, 412)
	const secret, credential = "correct horse battery staple", "Bearer of the owner"
	made := c.do(t, "PUT", hook, `{"url":"https://example.com/a","secret":"`+secret+`","headers":{"Authorization":"`+credential+`"}}`, "If-None-Match", "*").wantStatus(t, 201)
	got := c.do(t, "GET", hook, "").wantStatus(t, 200)
	leaktest.Plant(t, secret, credential).In(t, "the answers", []byte(made.body+got.body))
	if got.etag != made.etag || !strings.Contains(got.body, `"secrets":1`) {
		t.Errorf("made %+v, got %+v", made, got)
	}
	c.do(t, "PUT", hook, `{"url":"https://example.com/b"}`).wantStatus(t, 428)
	c.do(t, "PUT", hook, `{"url":"https://example.com/b"}`, "If-None-Match", "*").wantStatus(t, 412)
	c.do(t, "PUT", hook, `{"url":"https://example.com/b"}`, "If-Match", `"999"`).wantStatus(t, 412)
	c.do(t, "PUT", hook, `{"url":"https://example.com/b"}`, "If-Match", "W/"+made.etag).wantStatus(t, 412)
	changed := c.do(t, "PUT", hook, `{"url":"https://example.com/b","headers":{"Authorization":"(set)"}}`, "If-Match", `"7", `+made.etag).wantStatus(t, 200)
	if changed.etag == made.etag || !strings.Contains(changed.body, `"secrets":1`) || !strings.Contains(changed.body, `"Authorization":"(set)"`) {
		t.Errorf("the secret and the header should have stayed: %+v", changed)
	}
	c.do(t, "PUT", hook, `{"url":"https://example.com/a"}`, "If-Match", made.etag).wantStatus(t, 412)
	off := c.do(t, "POST", hook+"/disable", "").wantStatus(t, 200)
	if !strings.Contains(off.body, `"enabled":false`) {
		t.Errorf("disabled: %s", off.body)
	}
	c.do(t, "POST", hook+"/enable?forget_owed=true", "").wantStatus(t, 200)
	c.do(t, "GET", hook+"/health", "").wantStatus(t, 200)
	c.do(t, "DELETE", hook, "").wantStatus(t, 428)
	c.do(t, "DELETE", hook, "", "If-Match", made.etag).wantStatus(t, 412)
	c.do(t, "DELETE", hook, "", "If-Match", "*").wantStatus(t, 204)
	c.do(t, "DELETE", hook, "", "If-Match", "*").wantStatus(t, 404)
}

func TestWhatTheAPIRefusesItExplains(t *testing.T) {
	_, c := withAPI(t)
	for name, r := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a survey that is none":     {"GET", "/v1/surveys/a.b/webhook", "", 400, "letters, digits"},
		"a body that is no JSON":    {"PUT", hook, `{"url":`, 400, "JSON"},
		"a field twice":             {"PUT", hook, `{"url":"https://a.example","url":"https://b.example"}`, 400, "twice"},
		"an unknown field":          {"PUT", hook, `{"url":"https://a.example","colour":"red"}`, 400, "/colour"},
		"a field of another type":   {"PUT", hook, `{"url":"https://a.example","secret":12345678}`, 400, "/secret"},
		"a URL that is not allowed": {"PUT", hook, `{"url":"ftp://example.com","max_in_flight":-1}`, 422, "max_in_flight"},
		"an empty secret":           {"PUT", hook, `{"url":"https://a.example","secret":""}`, 422, "secret"},
		"a header without a value":  {"PUT", hook, `{"url":"https://a.example","headers":{"X-A":"(set)"}}`, 400, "X-A"},
		"two kinds of secrets":      {"PUT", hook, `{"url":"https://a.example","secret":"correct horse","sealed_secrets":[]}`, 400, "only one"},
		"a body that is too large":  {"PUT", hook, `{"url":"https://a.example","description":"` + strings.Repeat("x", 65<<10) + `"}`, 413, "65536"},
		"a limit of nought":         {"GET", hook + "/deliveries?limit=0", "", 400, "1 to 500"},
		"another's cursor":          {"GET", hook + "/deliveries?cursor=%21", "", 400, "cursor"},
		"no webhook to enable":      {"POST", hook + "/enable", "", 404, "no webhook"},
		"no webhook to test":        {"POST", hook + "/test", "", 404, "no webhook"},
	} {
		a := c.wrong(t, r.method, r.path, r.body)
		if a.status != r.status || !strings.Contains(a.body, r.says) || strings.Contains(a.body, "12345678") || strings.Contains(a.body, "horse") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := c.wrong(t, "PUT", hook, `{"url":"https://a.example"}`, "Content-Type", "text/plain"); a.status != 415 {
		t.Errorf("text: %d %s", a.status, a.body)
	}
	req := c.request(t, "GET", hook, "", "Authorization", "Bearer wrong")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", resp.StatusCode)
	}
}

func TestTheAPIIsClosedWithoutAToken(t *testing.T) {
	w := httptest.NewRecorder()
	handler, err := (&service{}).api()
	must(t, err)
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, hook, nil))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "--admin-token") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// bodiesOf are the bodies that the document has as examples of an operation.
func bodiesOf(t *testing.T, path, method string) map[string]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	must(t, yaml.Unmarshal(api.Document(), &doc))
	at := func(v any, keys ...string) any {
		for _, k := range keys {
			v = v.(map[string]any)[k]
		}
		return v
	}
	bodies := map[string]string{}
	for name, example := range at(doc.Paths[path][method], "requestBody", "content", "application/json", "examples").(map[string]any) {
		body, err := json.Marshal(at(example, "value"))
		must(t, err)
		bodies[name] = string(body)
	}
	return bodies
}

// TestTheExamplesOfTheDocumentAreAccepted sends each of them, in turn.
func TestTheExamplesOfTheDocumentAreAccepted(t *testing.T) {
	v, c := withAPI(t)
	examples := bodiesOf(t, "/v1/surveys/{survey}/webhook", "put")
	for _, name := range []string{"smallest", "full", "kept", "unsigned"} {
		headers := []string{"If-Match", "*"}
		if name == "smallest" {
			headers = []string{"If-None-Match", "*"}
		}
		if a := c.do(t, "PUT", hook, examples[name], headers...); a.status > 201 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if len(examples) != 4 {
		t.Errorf("the document has %d examples of a webhook", len(examples))
	}
	const survey = "550e8400-e29b-41d4-a716-446655440000"
	delivered(t, v, c, survey, "7c9e6679-7425-40de-944b-e07fc1f90ae7", "r2")
	replays := bodiesOf(t, "/v1/replays", "post")
	for name, body := range replays {
		want := 201
		if name == "rehearsal" {
			want = 200
		}
		if a := c.do(t, "POST", "/v1/replays", body, "Idempotency-Key", name); a.status != want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if len(replays) != 4 {
		t.Errorf("the document has %d examples of a replay", len(replays))
	}
}

func TestDeliveriesComeInPagesNewestFirst(t *testing.T) {
	v, c := withAPI(t)
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(delivery.HeaderSignature) == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		if r.Header.Get(delivery.HeaderDelivery) == "r3" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer owner.Close()
	c.do(t, "PUT", hook, `{"url":"`+owner.URL+`","secret":"correct horse"}`).wantStatus(t, 201)
	var sent struct{ Delivered bool }
	c.do(t, "POST", hook+"/test", "").wantStatus(t, 200).into(t, &sent)
	if !sent.Delivered {
		t.Error("the test event was not accepted")
	}
	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	for i := range 7 {
		_, err := pub.Publish(t.Context(), event("s1", fmt.Sprint("r", i)))
		must(t, err)
	}
	type page struct {
		Items []struct {
			At       time.Time
			Response string
		}
		Next string
	}
	var all page
	for deadline := time.Now().Add(20 * time.Second); len(all.Items) < 7 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		all = page{}
		c.do(t, "GET", hook+"/deliveries", "").wantStatus(t, 200).into(t, &all)
	}
	seen := map[string]int{}
	var last time.Time
	for next := "start"; next != ""; {
		query := "?limit=3"
		if next != "start" {
			query += "&cursor=" + url.QueryEscape(next)
		}
		var p page
		c.do(t, "GET", hook+"/deliveries"+query, "").wantStatus(t, 200).into(t, &p)
		for _, d := range p.Items {
			seen[d.Response]++
			if !last.IsZero() && d.At.After(last) {
				t.Errorf("%s comes after an older one", d.Response)
			}
			last = d.At
		}
		next = p.Next
	}
	if len(seen) != 7 || seen["r0"] != 1 {
		t.Errorf("the pages hold %v", seen)
	}
	var failed page
	c.do(t, "GET", hook+"/deliveries?failed=true&response=r3", "").wantStatus(t, 200).into(t, &failed)
	if len(failed.Items) == 0 {
		t.Error("the failed one is not found")
	}
	c.do(t, "GET", "/v1/surveys/s1/dead-letters?limit=2", "").wantStatus(t, 200)
	c.do(t, "GET", "/v1/openapi.yaml", "").wantStatus(t, 200)
}

// TestAJustSavedEndpointIsSeenWithinMilliseconds is the figure of
// deployments/platform.md: how long after the acknowledgement of a write the
// service uses it.
func TestAJustSavedEndpointIsSeenWithinMilliseconds(t *testing.T) {
	const writes = 200
	v, _ := withAPI(t)
	desk, err := endpoints.Open(t.Context(), v.js, v.layout.Names, "s1", endpoints.Lenient())
	must(t, err)
	var unseen []time.Duration
	ep := config.Endpoint{Survey: "s1", Enabled: true}
	for i := range writes {
		ep.URL = fmt.Sprintf("https://example.com/%d", i)
		ep, err = desk.Put(t.Context(), ep)
		must(t, err)
		saved := time.Now()
		for {
			if seen, err := v.store.Get(t.Context(), "s1"); err == nil && seen.Revision == ep.Revision {
				break
			}
			if time.Since(saved) > 10*time.Second {
				t.Fatal("not seen within 10 s")
			}
			time.Sleep(50 * time.Microsecond)
		}
		unseen = append(unseen, time.Since(saved))
	}
	slices.Sort(unseen)
	t.Logf("unseen after being saved: median %s, 99%% %s, most %s", unseen[writes/2], unseen[writes*99/100], unseen[writes-1])
	if unseen[writes/2] > 100*time.Millisecond {
		t.Errorf("the median is %s", unseen[writes/2])
	}
}
