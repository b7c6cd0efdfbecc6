package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/api"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// delivered connects a survey to a receiver and has responses of it delivered. It gives
// what the receiver was sent: response and replay.
func delivered(t *testing.T, v *service, c *apiClient, survey events.Survey, responses ...string) func() []string {
	t.Helper()
	var mu sync.Mutex
	var got []string
	owner := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get(delivery.HeaderDelivery)+" "+r.Header.Get(delivery.HeaderReplay))
	}))
	t.Cleanup(owner.Close)
	c.do(t, "PUT", "/v1/surveys/"+string(survey)+"/webhook", `{"url":"`+owner.URL+`"}`).wantStatus(t, 201)
	pub := events.NewPublisher(v.js, events.PublisherOptions{})
	for _, id := range responses {
		_, err := pub.Publish(t.Context(), event(survey, id))
		must(t, err)
	}
	within(t, func() string { // nothing pending is not enough: the consumer hears of an event a moment after its publisher
		stream, err := v.js.Stream(t.Context(), "RESPONSES")
		must(t, err)
		live, err := stream.Consumer(t.Context(), "webhooks")
		must(t, err)
		if last, floor := stream.CachedInfo().State.LastSeq, live.CachedInfo().AckFloor.Stream; floor < last {
			return fmt.Sprintf("settled up to %d of %d", floor, last)
		}
		return ""
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

// job is a replay as it is answered.
type job struct {
	ID     string
	State  string
	Events int
	Counts struct{ Delivered int }
	Notes  []string
}

func TestAReplayIsRehearsedStartedWatchedAndEndedOverHTTP(t *testing.T) {
	v, c := withAPI(t)
	got := delivered(t, v, c, "s1", "r1", "r2", "r3")
	var would struct {
		Sent    int
		Seconds float64
		Surveys []struct{ Survey, Outcome string }
	}
	c.do(t, "POST", "/v1/replays", `{"since":"1h","dry_run":true}`, "Idempotency-Key", "k0").wantStatus(t, 200).into(t, &would)
	if would.Sent != 3 || would.Seconds == 0 || len(would.Surveys) != 1 || would.Surveys[0].Outcome != "delivered" {
		t.Errorf("it would do %+v", would)
	}
	if list := c.do(t, "GET", "/v1/replays", "").wantStatus(t, 200); !strings.Contains(list.body, `"items":[]`) {
		t.Errorf("a rehearsal started something: %s", list.body)
	}

	var j job
	made := c.do(t, "POST", "/v1/replays", `{"since":2,"reason":"an outage","by":"ops"}`, "Idempotency-Key", "k1").wantStatus(t, 201)
	made.into(t, &j)
	if j.Events != 2 || made.etag == "" || made.location != "/v1/replays/"+j.ID {
		t.Errorf("made %+v", made)
	}
	within(t, func() string {
		now := c.do(t, "GET", made.location, "").wantStatus(t, 200)
		if now.into(t, &j); j.State != "done" || j.Counts.Delivered != 2 || now.etag == made.etag {
			return "not done: " + now.body
		}
		return ""
	})
	for _, want := range []string{"r2 " + j.ID, "r3 " + j.ID} {
		if !slices.Contains(got(), want) {
			t.Errorf("the receiver got %q, not %q", got(), want)
		}
	}
	if slices.Contains(got(), "r1 "+j.ID) {
		t.Error("what is before its start was sent")
	}
	if a := c.do(t, "POST", made.location+"/cancel", "").wantStatus(t, 409); !strings.Contains(a.body, "is done: it cannot be cancelled") {
		t.Errorf("cancelled: %s", a.body)
	}

	slow := c.do(t, "POST", "/v1/replays", `{"since":"2024-01-22T12:00:00Z","rate":0.001}`).wantStatus(t, 201)
	paused := c.do(t, "POST", slow.location+"/pause", "", "If-Match", "*").wantStatus(t, 200)
	c.do(t, "POST", slow.location+"/resume", "", "If-Match", slow.etag).wantStatus(t, 412)
	now := c.do(t, "GET", slow.location, "").wantStatus(t, 200)
	if now.into(t, &j); j.State != "paused" {
		t.Errorf("paused, and then not resumed: %s, paused as %+v", now.body, paused)
	}
	c.do(t, "POST", slow.location+"/resume", "").wantStatus(t, 200).into(t, &j)
	if j.State != "running" {
		t.Errorf("resumed: %+v", j)
	}
	c.do(t, "POST", slow.location+"/cancel", "").wantStatus(t, 200)
	c.do(t, "POST", slow.location+"/cancel", "").wantStatus(t, 200) // asked twice
	c.do(t, "POST", slow.location+"/pause", "").wantStatus(t, 409)
	c.do(t, "GET", slow.location, "").wantStatus(t, 200).into(t, &j)
	if j.State != "cancelled" {
		t.Errorf("cancelled: %+v", j)
	}
	within(t, func() string {
		if _, err := v.js.Consumer(t.Context(), "RESPONSES", v.layout.Names.ReplayConsumer(j.ID)); err == nil {
			return "its consumer is still there"
		}
		return ""
	})
	if !strings.Contains(c.log.String(), made.location) {
		t.Error("the log does not say what was started")
	}
}

func TestReplaysComeInPagesNewestFirst(t *testing.T) {
	v, c := withAPI(t)
	delivered(t, v, c, "s1", "r1")
	var made []string
	for range 5 {
		var j job
		c.do(t, "POST", "/v1/replays", `{"since":1}`).wantStatus(t, 201).into(t, &j)
		made = append(made, j.ID)
	}
	slices.Reverse(made)
	var seen []string
	for next := "start"; next != ""; {
		query := "?limit=2"
		if next != "start" {
			query += "&cursor=" + url.QueryEscape(next)
		}
		var p struct {
			Items []job
			Next  string
		}
		c.do(t, "GET", "/v1/replays"+query, "").wantStatus(t, 200).into(t, &p)
		for _, j := range p.Items {
			seen = append(seen, j.ID)
		}
		if next == "start" { // newer ones move no page
			c.do(t, "POST", "/v1/replays", `{"since":1}`).wantStatus(t, 201)
		}
		next = p.Next
	}
	if !slices.Equal(seen, made) {
		t.Errorf("the pages hold %v, want %v", seen, made)
	}
}

// TestTheSameRequestUnderTheSameKeyIsTheSameReplay asks two replicas at the same
// time, again and again, and afterwards once more.
func TestTheSameRequestUnderTheSameKeyIsTheSameReplay(t *testing.T) {
	v, c := withAPI(t)
	got := delivered(t, v, c, "s1", "r1")
	other := httptest.NewServer(api.Handler(api.Options{JS: v.js, Names: v.layout.Names, Rules: delivery.Rules{}, Keys: v.ringNow, Client: v.clientNow, Log: zerolog.Nop()}))
	defer other.Close()
	replicas := []*apiClient{c, {base: other.URL, validate: c.validate, log: c.log}}
	const rounds, each = 20, 2
	for round := range rounds {
		key := fmt.Sprint("key-", round)
		answers := make(chan answered, each*len(replicas))
		var all sync.WaitGroup
		for _, replica := range replicas {
			for range each {
				all.Go(func() { answers <- replica.do(t, "POST", "/v1/replays", `{"since":"1h"}`, "Idempotency-Key", key) })
			}
		}
		all.Wait()
		close(answers)
		made, ids := 0, map[string]bool{}
		for a := range answers {
			var j job
			a.into(t, &j)
			ids[j.ID] = true
			switch a.status {
			case 201:
				made++
			case 200:
			default:
				t.Errorf("%s: %d %s", key, a.status, a.body)
			}
			if a.location != "/v1/replays/"+j.ID || a.etag == "" {
				t.Errorf("%s: %+v", key, a)
			}
		}
		if made != 1 || len(ids) != 1 {
			t.Fatalf("%s: %d made, ids %v; want one", key, made, ids)
		}
	}
	all, err := replay.List(t.Context(), v.js, v.layout.Names)
	if err != nil || len(all) != rounds {
		t.Errorf("%d replays (%v), want %d", len(all), err, rounds)
	}
	within(t, func() string {
		if n := len(got()); n != 1+rounds {
			return fmt.Sprintf("the receiver got %d requests, want %d: %q", n, 1+rounds, got())
		}
		return ""
	})
	c.do(t, "DELETE", hook, "", "If-Match", "*").wantStatus(t, 204)
	again := c.do(t, "POST", "/v1/replays", `{"since":"1h"}`, "Idempotency-Key", `"key-0"`).wantStatus(t, 200)
	if again.location != "/v1/replays/"+replay.IDOf("key-0") {
		t.Errorf("asked again, whatever there is now: %+v", again)
	}
	if a := c.do(t, "POST", "/v1/replays", `{"since":"2h"}`, "Idempotency-Key", "key-0").wantStatus(t, 422); !strings.Contains(a.body, replay.IDOf("key-0")) {
		t.Errorf("another request under that key: %s", a.body)
	}
}

func TestWhatCannotBeReplayedIsRefusedOverHTTP(t *testing.T) {
	v, c := withAPI(t)
	const path = "/v1/replays"
	if a := c.do(t, "POST", path, `{"since":1}`).wantStatus(t, 422); !strings.Contains(a.body, "the event stream is empty") {
		t.Errorf("before anything was published: %s", a.body)
	}
	delivered(t, v, c, "s1", "r1", "r2", "r3")
	c.do(t, "PUT", "/v1/surveys/quiet/webhook", `{"url":"https://example.com/"}`).wantStatus(t, 201)
	kv, err := v.js.KeyValue(t.Context(), v.layout.Names.Replays())
	must(t, err)
	_, err = kv.Put(t.Context(), "newer", []byte(`{"format":"2","id":"newer"}`))
	must(t, err)
	_, err = kv.Put(t.Context(), replay.IDOf("newer"), []byte(`{"format":"2"}`))
	must(t, err)
	for name, r := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"no start":                {path, `{"surveys":["s1"]}`, 422, "from where on: give since"},
		"an unknown survey":       {path, `{"since":1,"surveys":["s1","nobody"]}`, 422, "survey nobody has no endpoint"},
		"not a survey":            {path, `{"since":1,"surveys":["a b"]}`, 422, "not a valid id"},
		"too many surveys":        {path, `{"since":1,"surveys":["` + strings.Join(numbered(1001), `","`) + `"]}`, 422, "can name 1000"},
		"until before since":      {path, `{"since":3,"until":2}`, 422, "until 2 is before since 3"},
		"an hour before the next": {path, `{"since":"1h","until":"2h"}`, 422, "until 2h is before since 1h"},
		"nothing in between":      {path, `{"since":1,"until":"2020-01-01"}`, 422, "no event between since 1"},
		"beyond the end":          {path, `{"since":9}`, 422, "beyond the end"},
		"the future":              {path, `{"since":"2199-01-01"}`, 422, "lies in the future"},
		"the future, as a time":   {path, `{"since":"-1h"}`, 422, "lies in the future"},
		"no place":                {path, `{"since":"yesterday"}`, 422, "is not a time"},
		"sequence nought":         {path, `{"since":0}`, 422, "begin at 1"},
		"a negative rate":         {path, `{"since":1,"rate":-5}`, 422, "is no rate"},
		"a rate of nought":        {path, `{"since":1,"rate":0}`, 422, "is no rate"},
		"a rate in words":         {path, `{"since":1,"rate":"fast"}`, 422, "is no rate"},
		"a response that is not":  {path, `{"response":"r99"}`, 422, "response r99 is not among"},
		"a survey without events": {path, `{"since":1,"surveys":["quiet"]}`, 422, "there is no event to replay"},
		"a novel for a reason":    {path, `{"since":1,"reason":"` + strings.Repeat("x", 1025) + `"}`, 422, "longer than 1024"},
		"what a terminal obeys":   {path, `{"since":1,"by":"\u001b[2J"}`, 422, "control characters"},
		"a field too many":        {path, `{"since":1,"colour":2}`, 400, "/colour"},
		"a list for a place":      {path, `{"since":[1]}`, 400, "/since"},
		"no JSON":                 {path, `{"since":`, 400, "JSON"},
		"too large":               {path, `{"since":1,"reason":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "262144"},
		"a rehearsal, too":        {path, `{"since":9,"dry_run":true}`, 422, "beyond the end"},
		"not there":               {path + "/k7x2m4qa/cancel", "", 404, "no such replay"},
		"not an id":               {path + "/a.b/cancel", "", 400, "id is not valid"},
		"a newer version's":       {path + "/newer/pause", "", 409, "this version reads 1"},
	} {
		if a := c.wrong(t, "POST", r.path, r.body); a.status != r.status || !strings.Contains(a.body, r.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, r := range map[string]struct {
		key    string
		status int
		says   string
	}{
		"an empty key":                          {"", 400, "want one"},
		"half a quoted one":                     {`"a`, 400, "want one"},
		"a blank in it":                         {"a b", 400, "visible ASCII"},
		"one that is too long":                  {strings.Repeat("k", 256), 400, "1 to 255"},
		"one whose replay is a newer version's": {"newer", 409, "this version reads 1"},
	} {
		if a := c.wrong(t, "POST", path, `{"since":1}`, "Idempotency-Key", r.key); a.status != r.status || !strings.Contains(a.body, r.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for at, says := range map[string]string{path + "?limit=501": "1 to 500", path + "?cursor=%21": "cursor", path + "?cursor=MS4": "cursor", path + "/a.b": "id is not valid"} {
		if a := c.wrong(t, "GET", at, ""); a.status != 400 || !strings.Contains(a.body, says) {
			t.Errorf("%s: %d %s", at, a.status, a.body)
		}
	}
	c.do(t, "GET", path+"/newer", "").wantStatus(t, 409)
	c.do(t, "GET", path+"/k7x2m4qa", "").wantStatus(t, 404)
	if list := c.do(t, "GET", path, "").wantStatus(t, 200); strings.TrimSpace(list.body) != `{"items":[]}` {
		t.Errorf("something was started, or one of a newer version is listed: %s", list.body)
	}
}

func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("s", i))
	}
	return ids
}
