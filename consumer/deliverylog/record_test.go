package deliverylog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// recordOf is the record an attempt is expected to become.
func recordOf(seq uint64, a delivery.Attempt) Record {
	return Record{
		Kind: KindAttempt, Survey: a.Survey, At: a.Started, Runs: []Run{{seq, seq}},
		EventID: a.EventID, Number: a.Number, Revision: a.Revision, Host: a.Host, Replay: a.Replay, Test: a.Test,
		Took: a.Took, Phases: a.Phases, Status: a.Status, Verdict: a.Verdict, Reason: a.Reason, After: a.After,
		Detail: a.Detail, Snippet: a.Snippet,
	}
}

func TestAttemptComesBackAsItWas(t *testing.T) {
	local := failed("s", "r")
	local.Started = local.Started.In(time.FixedZone("", 3600))
	for name, a := range map[string]delivery.Attempt{
		"delivered": delivered("550e8400-e29b-41d4-a716-446655440000", "7c9e6679"),
		"failed":    failed("s", "r-1"),
		"no answer": {Survey: "s", EventID: "r", Number: 1, Started: time.Unix(1e9, 1).UTC(), Verdict: delivery.Again, Reason: delivery.ReasonTimeout},
		"odd text":  {Survey: "s", EventID: `"\{}`, Started: time.Unix(1e9, 0).UTC(), Verdict: delivery.Gone, Reason: delivery.Reason410, Snippet: `ü "\ 日本`},
		"elsewhere": local,
	} {
		t.Run(name, func(t *testing.T) {
			line := appendAttempt(nil, 12, &a)
			if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("the line is %q", line)
			}
			got, err := decodeRecord(line)
			must(t, err)
			if d := cmp.Diff(recordOf(12, a), got, cmp.Comparer(time.Time.Equal)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if got.Source() != 12 || !got.Has(12) || got.Has(13) {
				t.Errorf("the record is about %v", got.Runs)
			}
		})
	}
}

func TestTheFormatIsWhatItIs(t *testing.T) {
	a := failed("s", "r-1")
	a.Started, a.Snippet = time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC), "busy"
	var got []byte
	got = appendAttempt(got, 12, &a)
	got = appendSettled(got, settledKey{KindNoWebhook, "s"}, a.Started, []Run{{1, 5}, {7, 7}})
	got = appendDropped(got, Loss{Records: 3, Run: Run{8, 20}, Since: a.Started, Until: a.Started.Add(time.Minute)})
	want := `{"kind":"attempt","survey":"s","at":"2026-05-04T03:02:01.987654321Z","seqs":"12","event":"r-1","number":3,"revision":12,"host":"hooks.example.com:443","replay":"replay-1","test":true,"took":23456789,"dns":1,"connect":2,"tls":3,"first_byte":4,"status":503,"verdict":"again","reason":"503","after":60000000000,"detail":"answered 503","snippet":"busy"}
{"kind":"no-webhook","survey":"s","at":"2026-05-04T03:02:01.987654321Z","seqs":"1-5,7"}
{"kind":"dropped","at":"2026-05-04T03:02:01.987654321Z","seqs":"8-20","records":3,"until":"2026-05-04T03:03:01.987654321Z"}
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("the format on the bus has changed (-want +got)\n%s", d)
	}
}

func TestHostileTextIsHeldAndShownSafely(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	for name, text := range map[string]string{
		"control characters":  "\x00\x07\x1b[31mred\x1b[0m\r\nnew line\x7f",
		"invalid UTF-8":       "a\xffb\xc3",
		"a line of our own":   "\"}\n{\"kind\":\"dropped\"}",
		"direction overrides": "\u202egnp.exe\u2066",
		"separators":          "\u2028\u2029\u0085",
		"too much":            long,
	} {
		t.Run(name, func(t *testing.T) {
			a := delivery.Attempt{Survey: "s", EventID: text, Host: text, Replay: text, Reason: delivery.Reason(text), Detail: text, Snippet: text}
			line := appendAttempt(nil, 1, &a)
			if !json.Valid(line) || !utf8.Valid(line) || bytes.Count(line, []byte("\n")) != 1 || len(line) > 16<<10 {
				t.Fatalf("the line has %d bytes: %.200q", len(line), line)
			}
			r, err := decodeRecord(line)
			must(t, err)
			checkSafe(t, r)
		})
	}
}

// checkSafe checks that whatever was read may be printed.
func checkSafe(t *testing.T, r Record) {
	t.Helper()
	for _, s := range []string{string(r.Survey), r.EventID, r.Host, r.Replay, string(r.Reason), r.Detail, r.Snippet} {
		if len(s) > maxSnippet || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }) {
			t.Errorf("unsafe to print: %.200q", s)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := `{"kind":"no-webhook","survey":"s","at":"2026-05-04T03:02:01Z","seqs":"1-5,7"}`
	if _, err := decodeRecord([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"an unknown member":          {`"seqs"`, `"more":1,"seqs"`},
		"a member twice":             {`"survey":"s"`, `"survey":"s","survey":"t"`},
		"another case":               {`"survey"`, `"Survey"`},
		"an unknown kind":            {"no-webhook", "perhaps"},
		"an invalid survey":          {`"s"`, `"a b"`},
		"no survey":                  {`"survey":"s",`, ""},
		"no sequences":               {"1-5,7", ""},
		"sequences out of order":     {"1-5,7", "7,1-5"},
		"overlapping runs":           {"1-5,7", "1-5,5"},
		"a run backwards":            {"1-5,7", "5-1"},
		"a negative sequence":        {"1-5,7", "-5"},
		"a sequence above all":       {"1-5,7", "18446744073709551616"},
		"an unknown verdict":         {`"seqs"`, `"verdict":"maybe","seqs"`},
		"a negative duration":        {`"seqs"`, `"took":-1,"seqs"`},
		"no time":                    {"2026-05-04T03:02:01Z", "yesterday"},
		"a time beyond our calendar": {"2026-05-04T03:02:01Z", "9999-12-31T23:59:59-23:59"},
		"a number in quotes":         {`"seqs"`, `"number":"1","seqs"`},
		"something behind":           {"}", "}{}"},
		"invalid UTF-8":              {`"s"`, "\"\xff\""},
		"an attempt of many at once": {"no-webhook", "attempt"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c[0], c[1], 1)
			if r, err := decodeRecord([]byte(text)); err == nil {
				t.Errorf("%s was read as %+v", text, r)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	for name, c := range map[string]struct{ in, want []Run }{
		"nothing":           {nil, nil},
		"one":               {[]Run{{3, 3}}, []Run{{3, 3}}},
		"in order":          {[]Run{{1, 2}, {3, 3}, {5, 5}}, []Run{{1, 3}, {5, 5}}},
		"out of order":      {[]Run{{5, 5}, {3, 3}, {4, 4}, {1, 1}}, []Run{{1, 1}, {3, 5}}},
		"twice":             {[]Run{{2, 4}, {3, 3}, {2, 2}}, []Run{{2, 4}}},
		"one within others": {[]Run{{1, 9}, {2, 3}, {10, 10}}, []Run{{1, 10}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := merge(c.in); !cmp.Equal(got, c.want) && len(got)+len(c.want) > 0 {
				t.Errorf("merged %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	a, b := delivered("s", "r-1"), failed("s", "r-2")
	f.Add(appendAttempt(nil, 1, &a))
	f.Add(appendAttempt(nil, 1<<62, &b))
	f.Add(appendSettled(nil, settledKey{KindParked, "s"}, a.Started, []Run{{1, 5}, {7, 7}}))
	f.Add(appendDropped(nil, Loss{Records: 3, Run: Run{1, 9}, Since: a.Started, Until: a.Started}))
	f.Add([]byte(`{"kind":"attempt","survey":"s","seqs":"1","took":-1,"at":"9999-12-31T23:59:59.999999999+23:59"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeRecord(text)
		if err != nil {
			return
		}
		checkSafe(t, r)
		if len(r.Runs) == 0 || r.Kind != KindDropped && len(r.Survey) == 0 {
			t.Fatalf("read as %+v", r)
		}
		if r.Kind != KindAttempt {
			return
		}
		again := delivery.Attempt{
			Survey: r.Survey, EventID: r.EventID, Host: r.Host, Revision: r.Revision, Number: r.Number, Replay: r.Replay, Test: r.Test,
			Started: r.At, Took: r.Took, Phases: r.Phases, Status: r.Status, Verdict: r.Verdict, Reason: r.Reason, After: r.After,
			Detail: r.Detail, Snippet: r.Snippet,
		}
		if _, err := decodeRecord(appendAttempt(nil, r.Source(), &again)); err != nil {
			t.Fatalf("written again it is refused: %v", err)
		}
	})
}

func TestFilterWants(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC)
	good, bad := delivered("s", "r-1"), failed("s", "r-2")
	good.Started, bad.Started = at, at
	ok, no := recordOf(5, good), recordOf(6, bad)
	settled := Record{Kind: KindOwed, Survey: "s", At: at, Runs: []Run{{1, 3}, {9, 9}}}
	dropped := Record{Kind: KindDropped, At: at, Until: at.Add(time.Hour), Runs: []Run{{4, 8}}, Records: 2}
	for name, c := range map[string]struct {
		f    Filter
		want string // of: ok, no, settled, dropped
	}{
		"all":                 {Filter{}, "ok no settled dropped"},
		"survey":              {Filter{Survey: "s"}, "ok no settled dropped"},
		"another survey":      {Filter{Survey: "t"}, "dropped"},
		"event":               {Filter{EventID: "r-2"}, "no dropped"},
		"reason":              {Filter{Reason: delivery.Reason2xx}, "ok dropped"},
		"verdict":             {Filter{Verdict: delivery.Again}, "no dropped"},
		"failed":              {Filter{Failed: true}, "no dropped"},
		"kinds":               {Filter{Kinds: []Kind{KindOwed, KindAttempt}}, "ok no settled"},
		"since then":          {Filter{Since: at}, "ok no settled dropped"},
		"since later":         {Filter{Since: at.Add(time.Minute)}, "dropped"},
		"until then":          {Filter{Until: at}, ""},
		"until later":         {Filter{Until: at.Add(1)}, "ok no settled dropped"},
		"a sequence":          {Filter{Source: Run{5, 5}}, "ok dropped"},
		"a run of sequences":  {Filter{Source: Run{3, 5}}, "ok settled dropped"},
		"between the runs":    {Filter{Source: Run{4, 4}}, "dropped"},
		"beyond all":          {Filter{Source: Run{10, 99}}, ""},
		"two things together": {Filter{EventID: "r-1", Failed: true}, "dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range []struct {
				name string
				r    Record
			}{{"ok", ok}, {"no", no}, {"settled", settled}, {"dropped", dropped}} {
				if c.f.wants(&r.r) {
					got = append(got, r.name)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("wants %q, want %q", got, c.want)
			}
		})
	}
}

func TestQuickNeverPassesOverWhatIsMeant(t *testing.T) {
	a := delivered("s", `odd "id"\`)
	line := appendAttempt(nil, 5, &a)
	for name, c := range map[string]struct {
		f    Filter
		want bool
	}{
		"all":            {Filter{}, true},
		"survey":         {Filter{Survey: "s"}, true},
		"another survey": {Filter{Survey: "ss"}, false},
		"event":          {Filter{EventID: `odd "id"\`}, true},
		"another event":  {Filter{EventID: "id"}, false},
	} {
		if got := c.f.quick().mayWant(line); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if dropped := appendDropped(nil, Loss{Records: 1, Run: Run{1, 1}}); !c.f.quick().mayWant(dropped) {
			t.Errorf("%s: a dropped record was passed over", name)
		}
	}
}

func TestKindsAreOneWordEach(t *testing.T) {
	for _, k := range Kinds() {
		if _, err := events.ParseSurvey(string(k)); err != nil {
			t.Errorf("kind %q is no word", k)
		}
	}
}
