package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/events"
)

// giveUpOn buries a response as a replica would that had given up on it.
func (s resting) giveUpOn(t *testing.T, survey events.Survey, id string, body []byte) {
	t.Helper()
	must(t, deadletters.New(s.js, s.names).Bury(t.Context(), deadletters.Letter{
		Survey: survey, EventID: id, Reason: "gave-up: 5xx", Source: 1, Published: time.Now(), Body: body,
	}))
}

func TestALetterThatCannotBeReadIsListedToo(t *testing.T) {
	s := atRest(t)
	s.giveUpOn(t, "s1", "r1", event("s1", "r1"))
	_, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: s.names.DeadSubject("s1"), Header: nats.Header{events.FormatHeader: {"2"}}, Data: []byte("newer")})
	must(t, err)
	out, errw, code := s.command(t, "dead-letters", "list", "--json")
	if code != exitOK {
		t.Errorf("ends with %d: %s", code, errw)
	}
	lines := wantJSON(t, "dead-letters list", out, "error")
	if len(lines) != 2 || lines[0]["event_id"] != "r1" || lines[1]["letter"] != 2. || lines[1]["buried"] == "" {
		t.Errorf("two letters are there, and this is listed:\n%s", out)
	}
	wantSaid(t, out, "dead letter 2 has format", "a newer version wrote it")
	out, _, _ = s.command(t, "dead-letters", "list")
	wantSaid(t, out, "r1", "dead letter 2 has format")
}

// Eight such letters fill the half of a lane that what is sent again may have.
func TestWhatALaneHasNoRoomForStaysADeadLetter(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	s.endpointAt(t, "s2", true)
	const fits, more = 8, 3
	long := bytes.Replace(event("s1", "r1"), []byte("{"), []byte(`{"pad":"`+strings.Repeat("x", 32<<20/fits-1000)+`",`), 1)
	for i := range fits + more {
		s.giveUpOn(t, "s1", fmt.Sprint("r", i), long)
	}
	s.giveUpOn(t, "s2", "r1", event("s2", "r1"))
	redrive := []string{"dead-letters", "redrive", "--all", "--event-max-bytes", "5MiB"}
	wantStaying := func(out, errw string, code exitCode, done, stay string) {
		t.Helper()
		wantSaid(t, out, done)
		wantSaid(t, errw, "3 letters stay (", "the lane of survey s1 has no room for it", "try: run the same again when the lane has drained; how far it is: webhooks lanes --survey s1", stay)
		if code != exitFailure {
			t.Errorf("ends with %d", code)
		}
	}
	out, errw, code := s.command(t, append(redrive, "--dry-run")...)
	wantStaying(out, errw, code, "9 dead letters (", "error: 3 dead letters would stay")
	out, errw, code = s.command(t, redrive...)
	wantStaying(out, errw, code, "9 dead letters (", "error: 3 dead letters were not redriven")
	lane, err := s.js.Stream(t.Context(), s.names.Lanes())
	must(t, err)
	if n := lane.CachedInfo().State.Msgs; n != fits+1 {
		t.Errorf("%d events are in lanes, want %d", n, fits+1)
	}
	out, _, _ = s.command(t, append(redrive, "--json")...)
	wantSaid(t, out, `"error":"the lane of survey s1 has no room for it`, `"hint":"run the same again`, `"letters":0,"bytes":0,"failed":3`)
	must(t, lane.Purge(t.Context())) // it has drained
	out, errw, code = s.command(t, redrive...)
	wantSaid(t, out, "3 dead letters (")
	if code != exitOK {
		t.Errorf("ends with %d: %s", code, errw)
	}
}
