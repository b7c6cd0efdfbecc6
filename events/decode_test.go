package events_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/events"
)

// full is the event as the survey platform documents it.
const full = `{"event":"response.completed","timestamp":"2024-01-22T12:00:00.000Z","origin":"web",
 "survey":{"id":"550e8400-e29b-41d4-a716-446655440000","name":"Customer Satisfaction Survey"},
 "response":{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7",
  "answers":[{"questionId":"q1","value":9},{"questionId":"q2","value":"Great service!"}],
  "customParams":{"userId":"user_12345","email":"customer@example.com","plan":"pro"},
  "completedAt":"2024-01-22T12:00:00.000Z","pageUrl":"https://yoursite.com/checkout"}}`

// with is a valid event with further members at the top.
func with(members string) string {
	return `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"},"response":{"id":"r1"}` + members + `}`
}

func ids(survey, response string) string {
	return `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":` + survey + `},"response":{"id":` + response + `}}`
}

func TestTheDocumentedEventIsRead(t *testing.T) {
	var n events.Names
	header := map[string][]string{
		"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"tracestate":  {"vendor=1"},
	}
	e, err := n.Decode("responses.completed", header, []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	if e.ID != "7c9e6679-7425-40de-944b-e07fc1f90ae7" || e.Survey != "550e8400-e29b-41d4-a716-446655440000" || !e.Time.Equal(want) || e.Kind != "response.completed" {
		t.Errorf("read %+v", e)
	}
	if string(e.Body) != full {
		t.Error("the body is not the published bytes")
	}
	if e.Traceparent == "" || e.Tracestate != "vendor=1" {
		t.Errorf("trace headers are %q and %q", e.Traceparent, e.Tracestate)
	}
}

func TestWhatPassesUntouched(t *testing.T) {
	var n events.Names
	for name, body := range map[string]string{
		"unknown members":              with(`,"new":{"deep":[1,{"a":null}]}`),
		"a number above 2^53":          with(`,"n":9007199254740993`),
		"a number beyond a float":      with(`,"n":1e400`),
		"keys differing in case":       with(`,"Event":"x","SURVEY":1`),
		"emoji and escapes":            with(`,"s":"\ud83d\ude00 \u00e9 \n 😀"`),
		"an escaped NUL":               with(`,"s":"\u0000"`),
		"line ends of another machine": strings.ReplaceAll(full, "\n", "\r\n"),
		"blanks around":                " \n\t" + full + "\r\n ",
		"escaped keys":                 strings.Replace(with(""), `"event"`, `"\u0065vent"`, 1),
		"nesting to the limit":         with(`,"n":` + strings.Repeat("[", 400) + strings.Repeat("]", 400)),
		"the longest ids":              ids(`"`+strings.Repeat("s", 128)+`"`, `"`+strings.Repeat("r", 128)+`"`),
	} {
		e, err := n.Decode("responses.completed", nil, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if string(e.Body) != body {
			t.Errorf("%s: the body was changed", name)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	var n events.Names
	for name, body := range map[string]string{
		"empty":                         "",
		"blanks alone":                  "  \n",
		"null":                          "null",
		"an array":                      "[]",
		"a bare string":                 `"response.completed"`,
		"truncated":                     full[:len(full)-1],
		"cut inside a string":           full[:20],
		"trailing bytes":                full + "x",
		"two events":                    full + full,
		"a byte order mark":             "\xef\xbb\xbf" + full,
		"invalid UTF-8":                 with(",\"s\":\"\xff\""),
		"a lone surrogate":              with(`,"s":"\ud800"`),
		"a raw NUL":                     with(",\"s\":\"\x00\""),
		"duplicate keys":                with(`,"event":"response.completed"`),
		"duplicate keys by an escape":   with(`,"\u0065vent":"response.completed"`),
		"duplicate keys deep inside":    with(`,"n":[{"a":{"b":1,"b":2}}]`),
		"depth 10,000":                  with(`,"n":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000)),
		"another event":                 strings.Replace(full, "response.completed", "response.started", 1),
		"event is a number":             strings.Replace(full, `"response.completed"`, "1", 1),
		"no event":                      strings.Replace(full, `"event"`, `"Event"`, 1),
		"no timestamp":                  strings.Replace(full, `"timestamp"`, `"time"`, 1),
		"a timestamp of another format": strings.Replace(full, "2024-01-22T12:00:00.000Z", "22.1.2024", 1),
		"survey is null":                strings.Replace(with(""), `{"id":"s1"}`, "null", 1),
		"survey id is missing":          strings.Replace(with(""), `{"id":"s1"}`, "{}", 1),
		"survey id is a number":         ids("1", `"r1"`),
		"survey id is null":             ids("null", `"r1"`),
		"survey id is an object":        ids("{}", `"r1"`),
		"survey id is empty":            ids(`""`, `"r1"`),
		"survey id with a dot":          ids(`"a.b"`, `"r1"`),
		"survey id with a star":         ids(`"*"`, `"r1"`),
		"survey id with an arrow":       ids(`">"`, `"r1"`),
		"survey id with a blank":        ids(`"a b"`, `"r1"`),
		"survey id with a newline":      ids(`"a\nb"`, `"r1"`),
		"survey id that is not ASCII":   ids(`"é"`, `"r1"`),
		"survey id of 129 bytes":        ids(`"`+strings.Repeat("s", 129)+`"`, `"r1"`),
		"survey id of 300 bytes":        ids(`"`+strings.Repeat("s", 300)+`"`, `"r1"`),
		"response id is a number":       ids(`"s1"`, "1"),
		"response id is null":           ids(`"s1"`, "null"),
		"response id is an object":      ids(`"s1"`, "{}"),
		"response id is empty":          ids(`"s1"`, `""`),
		"response id with a blank":      ids(`"s1"`, `"a b"`),
		"response id with a newline":    ids(`"s1"`, `"a\r\nX-Evil: 1"`),
		"response id of 300 bytes":      ids(`"s1"`, `"`+strings.Repeat("r", 300)+`"`),
		"response is missing":           `{"event":"response.completed","timestamp":"2024-01-22T12:00:00Z","survey":{"id":"s1"}}`,
	} {
		_, err := n.Decode("responses.completed", nil, []byte(body))
		var bad *events.BadEvent
		if !errors.As(err, &bad) || bad.Reason != events.Malformed {
			t.Errorf("%s: got %v, want it refused as malformed", name, err)
			continue
		}
		if len(bad.Error()) > 300 || strings.ContainsAny(bad.Error(), "\n\r\x00") {
			t.Errorf("%s: the error is not one short line: %q", name, bad.Error())
		}
		if bad.Offset < 0 || bad.Offset > int64(len(body)) {
			t.Errorf("%s: offset %d of %d bytes", name, bad.Offset, len(body))
		}
	}
}

func TestTheLargestEventPassesAndOneByteMoreDoesNot(t *testing.T) {
	var n events.Names
	base := with(`,"pad":""`)
	pad := strings.Repeat("x", events.MaxBytes-len(base))
	largest := with(`,"pad":"` + pad + `"`)
	if _, err := n.Decode("responses.completed", nil, []byte(largest)); err != nil || len(largest) != events.MaxBytes {
		t.Errorf("%d bytes: %v", len(largest), err)
	}
	_, err := n.Decode("responses.completed", nil, []byte(largest+" "))
	var bad *events.BadEvent
	if !errors.As(err, &bad) || bad.Reason != events.TooLarge {
		t.Errorf("one byte more: got %v, want too-large", err)
	}
	if _, err := n.DecodeMax("responses.completed", nil, []byte(full), len(full)-1); err == nil {
		t.Error("a deployment's own limit is not held")
	}
}

func TestTheSubjectMustAgree(t *testing.T) {
	eu, err := events.NewNames("eu")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names   events.Names
		subject string
		ok      bool
	}{
		{events.Names{}, "responses.completed", true},
		{events.Names{}, "responses.completed.s1", true},
		{events.Names{}, "responses.completed.s2", false},
		{events.Names{}, "responses.completed.s1.x", false},
		{events.Names{}, "responses.completed.", false},
		{events.Names{}, "responses.completedx", false},
		{events.Names{}, "responses", false},
		{events.Names{}, "eu.responses.completed.s1", false},
		{eu, "eu.responses.completed.s1", true},
		{eu, "responses.completed.s1", false},
	} {
		_, err := c.names.Decode(c.subject, nil, []byte(with("")))
		var bad *events.BadEvent
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", c.subject, err)
		case !c.ok && (!errors.As(err, &bad) || bad.Reason != events.SurveyMismatch):
			t.Errorf("%s: got %v, want survey-mismatch", c.subject, err)
		}
	}
}

func TestTraceHeadersAreCheckedBeforeTheyArePassedOn(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var n events.Names
	for name, c := range map[string]struct {
		header        map[string][]string
		parent, state string
	}{
		"none":                      {nil, "", ""},
		"both":                      {map[string][]string{"traceparent": {good}, "tracestate": {"a=b"}}, good, "a=b"},
		"another case is not ours":  {map[string][]string{"Traceparent": {good}}, "", ""},
		"upper-case digits":         {map[string][]string{"traceparent": {strings.ToUpper(good)}}, "", ""},
		"a header injected":         {map[string][]string{"traceparent": {good[:53] + "\r\n"}}, "", ""},
		"state without a parent":    {map[string][]string{"tracestate": {"a=b"}}, "", ""},
		"state with a line end":     {map[string][]string{"traceparent": {good}, "tracestate": {"a=b\r\nX: y"}}, good, ""},
		"state longer than allowed": {map[string][]string{"traceparent": {good}, "tracestate": {strings.Repeat("a", 513)}}, good, ""},
	} {
		e, err := n.Decode("responses.completed", c.header, []byte(with("")))
		if err != nil || e.Traceparent != c.parent || e.Tracestate != c.state {
			t.Errorf("%s: got %q, %q (%v)", name, e.Traceparent, e.Tracestate, err)
		}
	}
}

func TestFourThousandHeadersAreIgnored(t *testing.T) {
	header := map[string][]string{}
	for i := range 4000 {
		header[fmt.Sprint("X-", i)] = []string{"v"}
	}
	var n events.Names
	if _, err := n.Decode("responses.completed", header, []byte(with(""))); err != nil {
		t.Error(err)
	}
}

func TestAnErrorQuotesNothingPersonal(t *testing.T) {
	var n events.Names
	_, err := n.Decode("responses.completed", nil, []byte(strings.Replace(full, `"plan":"pro"`, `"plan":`, 1)))
	if err == nil || strings.Contains(err.Error(), "customer@example.com") || strings.Contains(err.Error(), "user_12345") {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("responses.completed", []byte(full))
	f.Add("responses.completed.s1", []byte(with(`,"n":[{"a":{"b":1,"b":2}}]`)))
	f.Add("responses.completed.s1", []byte(ids(`"s1"`, `"a\r\nX: 1"`)))
	f.Add("x", []byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		var n events.Names
		before := string(body)
		e, err := n.Decode(subject, nil, body)
		if string(body) != before {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if _, ok := errors.AsType[*events.BadEvent](err); !ok {
				t.Fatalf("%T is not a BadEvent", err)
			}
			return
		}
		if _, err := events.ParseSurvey(string(e.Survey)); err != nil {
			t.Errorf("accepted an event of survey %q: %v", e.Survey, err)
		}
		if e.ID == "" || strings.ContainsAny(e.ID, " \r\n\t\x00") {
			t.Errorf("accepted response id %q", e.ID)
		}
		if again, err := n.Decode(n.Subject(e.Survey), nil, body); err != nil || again.ID != e.ID {
			t.Errorf("its own subject is refused: %v", err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var n events.Names
	for _, size := range []int{0, 1 << 10, 16 << 10} {
		body := []byte(strings.Replace(full, `"Great service!"`, `"`+strings.Repeat("Great service! ", size/15)+`"`, 1))
		b.Run(fmt.Sprint(len(body)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.Decode("responses.completed.550e8400-e29b-41d4-a716-446655440000", nil, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
