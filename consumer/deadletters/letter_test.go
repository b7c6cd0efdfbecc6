package deadletters_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/consumer/deadletters"
)

func TestLetterComesBackAsItWas(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 987654321, time.UTC)
	cases := map[string]deadletters.Letter{
		"nothing but a source":        {Reason: "malformed", Source: 7, Body: []byte("{")},
		"an empty body":               {Survey: "s", Reason: "malformed", Source: 7, Body: []byte{}},
		"bytes that are no text":      {Survey: "s", Reason: "malformed", Source: 7, Body: []byte("\x00\xff\r\n\r\nNATS/1.0\r\n")},
		"a survey named like unknown": {Survey: "_", Reason: "gone", Source: 7, Body: []byte("{}")},
		"everything": {
			Survey: "550e8400-e29b-41d4-a716-446655440000", EventID: "7c9e6679", Reason: "panic", Detail: "index out of range [3]",
			Stack: "goroutine 7 [running]:\n\tmain.f(0x1)\r\n", Source: 1 << 60, Published: at, Attempts: 12, First: at, Last: at.Add(time.Hour),
			Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=1,b=2", Body: []byte(`{"a":"ü"}`),
		},
		"text a header cannot carry": {
			Survey: "s", EventID: `"quoted"`, Reason: "odd", Detail: " blanks, a tab\t, ü and \x1b[31m ", Source: 7, Body: []byte("{}"),
		},
	}
	w := newWorld(t)
	defer w.close()
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			must(t, w.store.Bury(t.Context(), want))
			all := w.list(deadletters.Filter{})
			last := all[len(all)-1]
			got, err := w.store.Get(t.Context(), last.Sequence)
			must(t, err)
			if time.Since(got.Buried) > time.Minute {
				t.Errorf("buried at %v", got.Buried)
			}
			want.Stream, want.Bytes = w.names.Stream(), len(want.Body)
			ignored := cmpopts.IgnoreFields(deadletters.Letter{}, "Sequence", "Buried")
			if d := cmp.Diff(want, got, ignored); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if d := cmp.Diff(want, last, ignored, cmpopts.IgnoreFields(deadletters.Letter{}, "Body")); d != "" || last.Body != nil {
				t.Errorf("listed without its body (-want +got)\n%s", d)
			}
		})
	}
}

func TestLetterIsBounded(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	long := strings.Repeat("é\n", 100_000)
	must(t, w.store.Bury(t.Context(), deadletters.Letter{
		Survey: "not a survey", EventID: long, Reason: long, Detail: long, Stack: long, Traceparent: long, Tracestate: long, Source: 7, Body: []byte("{}"),
	}))
	got, err := w.store.Get(t.Context(), 1)
	must(t, err)
	if got.Survey != "" || len(got.EventID) > 128 || len(got.Reason) > 64 || len(got.Detail) > 1024 || len(got.Stack) > 4096 {
		t.Errorf("survey %q, lengths %d %d %d %d", got.Survey, len(got.EventID), len(got.Reason), len(got.Detail), len(got.Stack))
	}
	if !strings.HasPrefix(long, got.Stack) {
		t.Error("the stack was cut inside a character")
	}
}

func TestLettersNeverCarryAMessageID(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	must(t, w.store.Bury(t.Context(), letter("s", "r-1", 1)))
	s, err := w.js.Stream(t.Context(), w.names.DeadLetters())
	must(t, err)
	m, err := s.GetMsg(t.Context(), 1)
	must(t, err)
	if m.Header.Get("Nats-Msg-Id") != "" || m.Header.Get("Popsee-Format") != "1" {
		t.Errorf("headers %v", m.Header)
	}
	if want := "eu.webhooks.dead.s"; m.Subject != want {
		t.Errorf("subject %s, want %s", m.Subject, want)
	}
}

func TestOtherFormatsAreLeftAloneAndSaidSo(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	must(t, w.store.Bury(t.Context(), letter("s", "r-1", 1)))
	for _, h := range []nats.Header{
		{"Popsee-Format": {"2"}, "Popsee-Reason": {"malformed"}},
		nil,
		{"Popsee-Format": {"1"}, "Popsee-Source-Sequence": {"many"}, "Popsee-Stack": {`"half`}},
	} {
		_, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: w.names.DeadSubject("s"), Header: h, Data: []byte("future")})
		must(t, err)
	}
	must(t, w.store.Bury(t.Context(), letter("s", "r-2", 2)))

	var got []string
	for l, err := range w.store.List(t.Context(), deadletters.Filter{}) {
		var u *deadletters.Unreadable
		switch {
		case errors.As(err, &u):
			if u.Sequence != l.Sequence || u.Hint() == "" || l.Buried.IsZero() {
				t.Errorf("%+v about letter %+v", u, l)
			}
			got = append(got, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, l.EventID)
		}
	}
	want := []string{
		"r-1",
		`dead letter 2 has format "2", this version reads 1; it is left alone`,
		"message 3 among the dead letters is none of ours and is left alone",
		"dead letter 4 cannot be read and is left alone: ",
		"r-2",
	}
	if len(got) != len(want) || !strings.HasPrefix(got[3], want[3]) {
		t.Fatalf("got %q", got)
	}
	got[3] = want[3]
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}

	tally, err := w.store.Purge(t.Context(), deadletters.Filter{}, false)
	must(t, err)
	if want := (deadletters.Tally{Letters: 2, Bytes: 22, Skipped: 3}); tally != want {
		t.Errorf("purged %+v, want %+v", tally, want)
	}
	if n, err := w.store.Count(t.Context(), deadletters.Filter{}); err != nil || n.Skipped != 3 || n.Letters != 0 {
		t.Errorf("after the purge %+v, %v", n, err)
	}
	if _, err := w.store.Get(t.Context(), 2); !errors.As(err, new(*deadletters.Unreadable)) {
		t.Errorf("Get says %v", err)
	}
}
