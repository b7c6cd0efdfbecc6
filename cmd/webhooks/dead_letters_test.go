package main

import (
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
