package consumer_test

import (
	"testing"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
)

// TestEveryStepBrokenTwice drives one endpoint over its quota and back, and cuts
// the replica off at one step of the way: once before the server hears of it, and
// once after the server has done it and before anybody hears.
func TestEveryStepBrokenTwice(t *testing.T) {
	for name, s := range map[string]step{
		"a replica's lease is taken":         {pattern: "$KV.webhook_shards", early: true},
		"a shard is read":                    {pattern: "$JS.API.CONSUMER.CREATE.WEBHOOK_LANES", early: true},
		"a message is pulled":                {pattern: "$JS.API.CONSUMER.MSG.NEXT.RESPONSES"},
		"the mark is written":                {pattern: "$KV.webhook_state"},
		"a delivered event is acknowledged":  {pattern: "+ACK"},
		"an endpoint's failure is told":      {pattern: `"failing_since"`},
		"an event is parked by itself":       {pattern: "HPUB webhooks.lanes."},
		"many are parked in a moment":        {pattern: "Nats-Batch-Commit", raced: true},
		"owed events are parked":             {pattern: "Nats-Batch-Commit", pass: 1},
		"a parked event is let go":           {pattern: "+TERM parked"},
		"a body is fetched":                  {pattern: "$JS.API.DIRECT.GET.WEBHOOK_LANES"},
		"an event is promised":               {pattern: `"owed_from"`},
		"an owed event is let go":            {pattern: "+TERM owed"},
		"an endpoint's recovery is told":     {pattern: `{"format":"1","owed_from"`},
		"owed events are read":               {pattern: "$JS.API.CONSUMER.CREATE.RESPONSES", raced: true},
		"how far they were brought is noted": {pattern: `{"format":"1","owed_from"`, pass: 1},
		"all that was owed is noted":         {pattern: "KV-Operation: DEL"},
		"delivered events are removed":       {pattern: "$JS.API.STREAM.PURGE.WEBHOOK_LANES", raced: true},
	} {
		if raced && !s.raced {
			continue
		}
		for part, lose := range losses() {
			t.Run(name+", "+part, func(t *testing.T) { brokenAt(t, s, lose) })
		}
	}
}

// losses are what a step may lose. For the race detector both are the same code: a
// connection that ends; it sees one of them, and task test:stories runs both.
func losses() map[string]bustest.Part {
	if raced {
		return map[string]bustest.Part{"answer lost": bustest.TheAnswer}
	}
	return map[string]bustest.Part{"write lost": bustest.TheWrite, "answer lost": bustest.TheAnswer}
}

// step is one request of a replica on the way of an event.
type step struct {
	pattern string // in what is sent to the server
	pass    int    // so many such requests go through first
	early   bool   // it is part of the start
	raced   bool   // under the race detector too, which makes half a minute of each: test:stories goes through all
}

func brokenAt(t *testing.T, s step, lose bustest.Part) {
	story(t, func(t *testing.T, w *world) {
		w.laneMost = 20
		r := w.endpoint("s1").answers(500)
		w.endpoint("healthy")
		wire := w.wire
		if s.early {
			wire.CutAfter(s.pass, lose, s.pattern)
		}
		w.start()
		if !s.early {
			wire.CutAfter(s.pass, lose, s.pattern)
		}
		ids := w.publishMany("s1", 60)
		fine := w.publishMany("healthy", 20)
		w.advance(5 * time.Second)
		ids = append(ids, w.publishMany("s1", 60)...)
		w.advance(time.Minute)
		ids = append(ids, w.publish("s1")) // alone
		w.advance(time.Minute)
		r.answers(200)
		w.advance(10 * time.Minute)
		if wire.Armed() {
			t.Error("nothing was cut: the step was never reached")
		}
		twice := 0
		for _, id := range append(ids, fine...) {
			n := w.internet.at(w.published[id].survey).accepted(id)
			if n == 0 {
				t.Errorf("event %s was not delivered", id)
			}
			twice += max(n-1, 0)
		}
		if twice > 64+20 {
			t.Errorf("%d duplicates, more than were in flight or brought and not yet noted", twice)
		}
		w.wantSettled()
		w.wantParked(0)
		w.wantNoHealth("s1")
	})
}

// TestEveryStepOfABurialBrokenTwice does the same on the two ways to a dead letter:
// from the event stream, of what is no event, and from the lane of an endpoint that
// was removed.
func TestEveryStepOfABurialBrokenTwice(t *testing.T) {
	for name, pattern := range map[string]string{
		"a dead letter is stored":         "webhooks.dead",
		"what is no event is let go":      "+TERM malformed",
		"a parked event's body is read":   "$JS.API.DIRECT.GET.WEBHOOK_LANES",
		"what was buried leaves its lane": "$JS.API.STREAM.PURGE.WEBHOOK_LANES",
	} {
		for part, lose := range losses() {
			t.Run(name+", "+part, func(t *testing.T) { buriedAt(t, pattern, lose) })
		}
	}
}

func buriedAt(t *testing.T, pattern string, lose bustest.Part) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1").answers(500)
		w.endpoint("healthy")
		w.start()
		want := map[uint64]bool{}
		for _, id := range w.publishMany("s1", 30) {
			want[w.published[id].seq] = true
		}
		w.advance(10 * time.Second)
		if n := len(w.parked()); n != 30 {
			t.Fatalf("%d events are parked, want 30", n)
		}
		w.wire.CutAfter(0, lose, pattern)
		for range 5 {
			ack, err := w.js.Publish(t.Context(), w.layout.Names.Subjects()[0], []byte("{"))
			must(t, err)
			want[ack.Sequence] = true
		}
		fine := w.publishMany("healthy", 20)
		w.remove("s1")
		w.advance(10 * time.Minute)
		if w.wire.Armed() {
			t.Error("nothing was cut: the step was never reached")
		}
		times := map[uint64]int{}
		for _, l := range w.letters() {
			times[l.Source]++
		}
		for seq := range want {
			if times[seq] == 0 {
				t.Errorf("sequence %d is no dead letter", seq)
			}
		}
		if len(times) != len(want) {
			t.Errorf("%d events are dead letters, want %d", len(times), len(want))
		}
		twice := 0
		for _, n := range times {
			twice += n - 1
		}
		if twice > len(want) {
			t.Errorf("%d dead letters are there twice, more than were in hand", twice)
		}
		for _, id := range fine {
			if w.internet.at("healthy").accepted(id) == 0 {
				t.Errorf("event %s was not delivered", id)
			}
		}
		w.wantSettled()
		w.wantParked(0)
	})
}
