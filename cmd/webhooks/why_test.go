package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/delivery"
)

// why asks for a response's story.
func (s resting) why(t *testing.T, id string, more ...string) story {
	t.Helper()
	out, errw, code := s.command(t, append([]string{"why", id, "--json"}, more...)...)
	if code != exitOK {
		t.Fatalf("why %s: code %d, %s", id, code, errw)
	}
	var st story
	must(t, json.Unmarshal([]byte(out), &st))
	return st
}

// log writes records as replicas do.
func (s resting) log(t *testing.T, write func(l *deliverylog.Log)) {
	t.Helper()
	l := deliverylog.New(s.js, s.names, deliverylog.Options{Replica: "host-1"})
	write(l)
	must(t, l.Flush(t.Context()))
}

func (s resting) rawPublish(t *testing.T, subject string, body []byte, o ...jetstream.PublishOpt) {
	t.Helper()
	_, err := s.js.Publish(t.Context(), subject, body, o...)
	must(t, err)
}

func TestAResponseIsFoundHoweverItWasPublished(t *testing.T) {
	s := atRest(t)
	s.publish(t, "s1", "with-its-id")
	s.rawPublish(t, "responses.completed.s1", event("s1", "with-a-longer-id"), jetstream.WithMsgID("s1/with-a-longer-id"))
	s.rawPublish(t, "responses.completed.s1", event("s1", "without"))
	s.rawPublish(t, "responses.completed", event("s1", "on-the-bare-subject"))
	s.rawPublish(t, "responses.completed.s1", []byte(`{"event":"response.completed","response":{"id":"malformed"}}`))
	s.rawPublish(t, "responses.completed.s2", event("s2", "of-another"), jetstream.WithMsgID("of-another"))
	s.rawPublish(t, "responses.completed.s2", event("s2", "lies"), jetstream.WithMsgID("something"))
	s.rawPublish(t, "responses.completed.s2", event("s2", "twice"))
	s.rawPublish(t, "responses.completed.s2", event("s2", "twice"))
	for i := range 700 {
		s.rawPublish(t, "responses.completed.s3", event("s3", fmt.Sprint("filler-", i)))
	}
	for id, sequence := range map[string]uint64{
		"with-its-id": 1, "with-a-longer-id": 2, "without": 3, "on-the-bare-subject": 4, "malformed": 5, "of-another": 6, "lies": 7, "twice": 9, "filler-699": 709,
	} {
		survey := "s1"
		if sequence > 5 {
			survey = "s2"
		}
		if sequence > 9 {
			survey = "s3"
		}
		for _, more := range [][]string{nil, {"--survey", survey}} {
			if st := s.why(t, id, more...); st.Sequence != sequence || string(st.Survey) != survey || st.State != isAhead {
				t.Errorf("%s %v: %+v, want sequence %d of survey %s", id, more, st, sequence, survey)
			}
		}
	}
	wantSaid(t, strings.Join(s.why(t, "twice").Notes, " "), "published 2 times", "sequence 8")
	for _, args := range [][]string{{"why", "longer-id"}, {"why", "with-its-id", "--survey", "s2"}, {"why", "nobody"}} {
		_, errw, code := s.command(t, args...)
		if code != exitFailure {
			t.Errorf("%v: code %d", args, code)
		}
		wantSaid(t, errw, "is nowhere", "hint: check")
	}
	if _, _, code := s.command(t, "why", "r1", "--survey", "a b"); code != exitUsage {
		t.Errorf("code %d for a survey that cannot be", code)
	}
}

func TestAResponseIsKnownAfterItHasLeftTheEventStream(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	must(t, deadletters.New(s.js, s.names).Bury(t.Context(), deadletters.Letter{
		Survey: "s1", EventID: "buried", Source: 41, Published: time.Now().Add(-time.Hour), Reason: "gave-up: 5xx", Body: event("s1", "buried"),
	}))
	must(t, deadletters.New(s.js, s.names).Bury(t.Context(), deadletters.Letter{
		Survey: "s1", EventID: "broken", Source: 42, Published: time.Now().Add(-time.Hour), Reason: "malformed", Body: []byte("no event"),
	}))
	s.park(t, lanes.Waiting{Survey: "s1", EventID: "parked", Source: 43, Published: time.Now().Add(-time.Hour), Reason: "5xx", DueNow: true})
	s.log(t, func(l *deliverylog.Log) {
		l.Attempt(44, delivery.Attempt{Survey: "s1", EventID: "tried", Number: 1, Started: time.Now(), Verdict: delivery.Delivered, Status: 200, Reason: "2xx"})
	})
	for id, state := range map[string]whereabouts{"buried": isDead, "broken": isDead, "parked": isWaiting, "tried": isDelivered} {
		for _, more := range [][]string{nil, {"--survey", "s1"}} {
			st := s.why(t, id, more...)
			if st.State != state || st.Survey != "s1" || len(st.Notes) == 0 || st.Notes[0] != "its bytes have left the event stream" {
				t.Errorf("%s %v: %+v", id, more, st)
			}
		}
	}
	wantSaid(t, s.why(t, "broken").Next, "can never be delivered as it is")
}

func TestAStoryIsToldFromEverythingThatIsKnown(t *testing.T) {
	s := atRest(t)
	s.endpointAt(t, "s1", true)
	s.announce(t, "host-1", s.names.Shard("s1"))
	s.publish(t, "s1", "r0", "r1", "r2")
	now := time.Now()
	s.log(t, func(l *deliverylog.Log) {
		l.Attempt(2, delivery.Attempt{Survey: "s1", EventID: "r1", Number: 1, Host: "example.com", Started: now, Verdict: delivery.Again, Reason: "timeout", Took: 5 * time.Second})
		for seq := uint64(1); seq <= 3; seq++ {
			l.Settled(deliverylog.KindParked, "s1", seq)
		}
		l.Attempt(3, delivery.Attempt{Survey: "s1", EventID: "r2", Number: 1, Started: now, Verdict: delivery.Delivered, Status: 200})
	})
	s.park(t, lanes.Waiting{Survey: "s1", EventID: "r1", Source: 2, Reason: "timeout", DueNow: true})
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		return b.Failed(ctx, "s1", health.Failure{At: now, Reason: "timeout", NextProbe: now.Add(time.Hour)})
	})
	out, _, code := s.command(t, "why", "r1", "--survey", "s1")
	if code != exitOK {
		t.Errorf("code %d", code)
	}
	wantInOrder(t, "r1", strings.Split(out, "\n"), []string{
		"response r1 of survey s1", "published: sequence 2 of RESPONSES", "try 1 at example.com: no answer, timeout after 5s", "put into its lane, to wait",
		"now                      waits in its lane: its endpoint fails since", "next                     one event is tried at",
	})
	if strings.Contains(out, "note") || strings.Contains(out, "accepted, status") {
		t.Errorf("too much is said:\n%s", out)
	}
	if st := s.why(t, "r2"); st.State != isDelivered {
		t.Errorf("r2: %+v", st)
	}
}

func TestALongStoryIsCutInItsMiddle(t *testing.T) {
	st := story{Response: "r1", Survey: "s1", ending: ending{Now: "waits", Commands: []string{"webhooks endpoint enable s1"}}, Notes: []string{"careful"}}
	for i := range 1000 {
		st.Lines = append(st.Lines, storyLine{noon, fmt.Sprintf("try %d.", i+1)})
	}
	var out strings.Builder
	st.print(&world{out: &out})
	wantSaid(t, out.String(), "try 8.", "980 more; all of them: webhooks attempts --all --survey s1 --response r1", "try 989.", "try 1000.", "run                      webhooks endpoint enable s1", "note                     careful")
	if n := strings.Count(out.String(), "\n"); n != 1+8+1+12+3 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}
