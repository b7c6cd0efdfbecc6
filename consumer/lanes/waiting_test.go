package lanes

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

func TestACopySaysAllThatIsKnownOfItsEvent(t *testing.T) {
	published := time.Date(2026, 11, 29, 1, 50, 7, 643_000_001, time.UTC)
	least := Waiting{Survey: "s1", EventID: "r1", Source: 1, Published: published, Parked: published.Add(time.Second)}
	most := Waiting{
		Survey: "s1", EventID: strings.Repeat("~", 128), Source: ^uint64(0), Published: published.In(time.FixedZone("far", 3600)), Parked: published, Attempts: 1 << 40,
		First: published.Add(time.Nanosecond), Last: published.Add(time.Hour), Reason: "it failed for 5 days: 5xx", DueNow: true,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=1,b=2", Replay: "abcdefgh", Body: []byte("{}"),
	}
	for name, w := range map[string]Waiting{"little": least, "much": most} {
		t.Run(name, func(t *testing.T) {
			msg := w.message(events.Names{})
			got, err := read(overTheWire(t, msg), msg.Data)
			must(t, err)
			got.Survey = w.Survey // the subject says it
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("what is read differs (-stored +read):\n%s", diff)
			}
			if source, known := Source(msg.Header); !known || source != w.Source {
				t.Errorf("its source is %d (%v), want %d", source, known, w.Source)
			}
		})
	}
}

func TestACopyWithAHeaderForEachIsReadToo(t *testing.T) {
	h := nats.Header{
		"Popsee-Format": {"1"}, "Popsee-Source-Sequence": {"42"}, "Popsee-Published": {"2026-11-28T01:50:07.643Z"}, "Popsee-Parked": {"2026-11-28T01:50:08Z"},
		"Popsee-Attempts": {"3"}, "Popsee-Reason": {"it failed: 5xx"}, "Popsee-Event": {"r1"}, "Popsee-Due-Now": {"true"}, "Popsee-Replay": {"abcdefgh"},
	}
	want := Waiting{
		EventID: "r1", Source: 42, Published: time.Date(2026, 11, 28, 1, 50, 7, 643_000_000, time.UTC), Parked: time.Date(2026, 11, 28, 1, 50, 8, 0, time.UTC),
		Attempts: 3, Reason: "it failed: 5xx", DueNow: true, Replay: "abcdefgh",
	}
	got, err := read(h, nil)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is read differs (-stored +read):\n%s", diff)
	}
	if source, known := Source(h); !known || source != 42 {
		t.Errorf("its source is %d (%v), want 42", source, known)
	}
	h.Del("Popsee-Due-Now")
	if got, err = read(h, nil); err != nil || got.DueNow {
		t.Errorf("without its word it is due now: %v (%v)", got.DueNow, err)
	}
}

// overTheWire is what a reader gets of a message's headers.
func overTheWire(t *testing.T, msg *nats.Msg) nats.Header {
	t.Helper()
	b := []byte("NATS/1.0\r\n")
	for key, values := range msg.Header {
		b = append(b, key+": "+values[0]+"\r\n"...)
	}
	h, err := nats.DecodeHeadersMsg(append(b, "\r\n"...))
	must(t, err)
	return h
}

func TestACopyThatSaysTooLittleIsNotRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "source",
		"-1":                     "source",
		"x 2026":                 "source",
		"1":                      "publication",
		"1 yesterday":            "publication",
		"1 2026-11-29T01:50:07Z": "time",
		"1 2026-11-29T01:50:07Z 2026-11-29T01:50:07Z":               "attempts",
		"1 2026-11-29T01:50:07Z 2026-11-29T01:50:07Z often":         "attempts",
		"1 2026-11-29T01:50:07Z 2026-11-29T01:50:07Z 0":             "when",
		"1 2026-11-29T01:50:07Z 2026-11-29T01:50:07Z 0 soon r1 5xx": "when",
	} {
		if _, err := read(nats.Header{events.FormatHeader: {events.Format}, headerWaiting: {text}}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about its %s", text, err, want)
		}
	}
}
