package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/events"
)

func TestStatusShowsEverythingThatWaitsAndWhoWorks(t *testing.T) {
	s := atRest(t)
	out, _, code := s.command(t, "status", "--sample", "0", "--admin-listen", "")
	wantSaid(t, out, "waiting      nothing", "endpoints    0, none known to fail", "dead letters 0", "replicas     none: nothing is delivered")
	if code != exitOK {
		t.Errorf("code %d", code)
	}
	s.publish(t, "s1", "r1", "r2", "r3")
	s.endpointAt(t, "s1", true)
	for i := range 3 {
		s.park(t, lanes.Waiting{Survey: "s1", EventID: "r1", Source: uint64(i + 1), Reason: "5xx"})
	}
	s.park(t, lanes.Waiting{Survey: "s2", EventID: "r1", Source: 9, Reason: "5xx"})
	must(t, deadletters.New(s.js, s.names).Bury(t.Context(), deadletters.Letter{Survey: "s1", Reason: "malformed", Body: []byte("x")}))
	s.mend(t, func(ctx context.Context, b *health.Board) error {
		must(t, b.Failed(ctx, "s1", health.Failure{At: time.Now(), Reason: "5xx"}))
		_, err := b.Owe(ctx, "s1", health.Promise{From: 2, Until: time.Now()}, health.Stream{At: time.Now(), First: 1, Last: 2})
		must(t, err)
		return b.Disable(ctx, "s2", health.Disabled{At: time.Now(), By: health.ByEndpoint}, "410")
	})
	s.announce(t, "host-1", 0, 1, 2)
	out, _, code = s.command(t, "status", "--sample", "10ms", "--admin-listen", "")
	wantSaid(t, out, "events       3 stored", "delivery     3 not yet given to a replica", "rate         0/s published, 0/s settled",
		"waiting      4 events in 2 lanes, longest since ", "for survey s1", "endpoints    1: 1 failing, 1 disabled, 1 owed events beside their lane",
		"dead letters 1", "replicas     host-1, version 1.2.3, started ", "(1 h ago), holds 3 shards", "warning      61 of 64 shards have no owner")
	if code != exitOK {
		t.Errorf("shards without an owner are a warning, and the code is %d", code)
	}
	out, _, _ = s.command(t, "status", "--sample", "10ms", "--admin-listen", "", "--json")
	var v statusView
	must(t, json.Unmarshal([]byte(out), &v))
	if v.Waiting.Events != 4 || v.Waiting.Lanes != 2 || v.Unwell != (unwellView{1, 1, 1}) || v.Letters != 1 || v.Rate == nil {
		t.Errorf("%+v", v)
	}
	if len(v.Fleet.Replicas) != 1 || v.Fleet.Replicas[0].Version != "1.2.3" || v.Fleet.Replicas[0].Shards != 3 || len(v.Fleet.Free) != 61 {
		t.Errorf("%+v", v.Fleet)
	}
}

func TestStatusSaysWhatANewerVersionWrote(t *testing.T) {
	s := atRest(t)
	header := nats.Header{events.FormatHeader: {"2"}}
	for _, subject := range []string{s.names.LaneSubject("s1"), s.names.LaneSubject("s2"), s.names.DeadSubject("s1"), s.names.AttemptsSubject(7)} {
		_, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header, Data: []byte("newer")})
		must(t, err)
	}
	for bucket, key := range map[string]string{s.names.State(): "mark", s.names.Health(): "s1", s.names.Replays(): "abcdefgh"} {
		kv, err := s.bucket(t.Context(), bucket)
		must(t, err)
		_, err = kv.PutString(t.Context(), key, `{"format":"2"}`)
		must(t, err)
	}
	out, errw, code := s.command(t, "status", "--sample", "0", "--admin-listen", "")
	wantSaid(t, out, "newer        2 waiting events, 1 dead letters, 1 messages of the delivery log, 1 marks, 1 health records, 1 replays: written by a newer version")
	if code != exitOK || errw != "" {
		t.Errorf("code %d: %s", code, errw)
	}
	// Of a long stream the end is looked at, and that is said: two of its 1,202 messages
	// are a newer version's, and one of those stands in the newest 1,000.
	for i := range 1200 {
		m := &nats.Msg{Subject: s.names.LaneSubject("s1"), Header: nats.Header{events.FormatHeader: {events.Format}}}
		if i == 400 {
			m.Header = header
		}
		_, err := s.js.PublishMsgAsync(m)
		must(t, err)
	}
	<-s.js.PublishAsyncComplete()
	out, _, _ = s.command(t, "status", "--sample", "0", "--admin-listen", "")
	wantSaid(t, out, "newer        1 of the newest 1000 waiting events, 1 dead letters")
}

func TestRates(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		a, b               look
		published, settled float64
	}{
		"nothing happens":                 {look{at, 100, 0}, look{at.Add(time.Second), 100, 0}, 0, 0},
		"what comes is settled":           {look{at, 100, 5}, look{at.Add(2 * time.Second), 300, 5}, 100, 100},
		"a backlog shrinks":               {look{at, 100, 50}, look{at.Add(time.Second), 100, 20}, 0, 30},
		"a backlog grows":                 {look{at, 100, 0}, look{at.Add(time.Second), 150, 40}, 50, 10},
		"the consumer was put back":       {look{at, 100, 0}, look{at.Add(time.Second), 100, 100}, 0, 0},
		"the server's clock stands still": {look{at, 100, 0}, look{at, 200, 0}, -1, -1},
	} {
		r := rateOf(c.a, c.b)
		if r == nil {
			r = &rateView{Published: -1, Settled: -1}
		}
		if r.Published != c.published || r.Settled != c.settled {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// The platform may own the event stream, and keep other messages there.
func TestTheRateCountsNoMessagesOfOthers(t *testing.T) {
	s := atRest(t)
	stream, err := s.js.Stream(t.Context(), s.names.Stream())
	must(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Subjects = append(cfg.Subjects, "surveys.>")
	_, err = s.js.UpdateStream(t.Context(), cfg)
	must(t, err)
	must(t, s.js.DeleteConsumer(t.Context(), cfg.Name, s.names.Consumer()))
	cons, err := s.js.CreateConsumer(t.Context(), cfg.Name, layout.Layout{Names: s.names}.Consumer(1, layout.Filters(cfg, s.names.Subjects())))
	must(t, err)
	a, err := s.look(t.Context())
	must(t, err)
	for range 5 {
		_, err := s.js.Publish(t.Context(), "surveys.changed", []byte("{}"))
		must(t, err)
	}
	s.publish(t, "s1", "r1", "r2", "r3")
	got, err := cons.Fetch(2, jetstream.FetchMaxWait(patience))
	must(t, err)
	must(t, (<-got.Messages()).DoubleAck(t.Context())) // the other is in hand
	<-got.Messages()
	b, err := s.look(t.Context())
	must(t, err)
	a.at, b.at = noon, later(time.Second)
	if r := rateOf(a, b); r.Published != 3 || r.Settled != 1 {
		t.Errorf("3 events came and 1 was settled, and the rate is %+v", *r)
	}
}
