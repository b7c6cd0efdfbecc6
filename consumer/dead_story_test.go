package consumer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popsee/webhooks/consumer"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// letters returns every dead letter, bodies included. Those of a newer version are
// not ours to read.
func (w *world) letters() []deadletters.Letter {
	w.t.Helper()
	var all []deadletters.Letter
	for l, err := range deadletters.New(w.js, w.layout.Names).List(w.t.Context(), deadletters.Filter{Bodies: true}) {
		if errors.As(err, new(*deadletters.Unreadable)) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestWhatCanNeverBeDeliveredBecomesADeadLetter(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		const body = `{"event":"response.completed","survey":null}`
		w.publishMalformed("s1", body)
		w.advance(time.Second)
		got := w.letters()
		if len(got) != 1 || string(got[0].Body) != body || got[0].Reason != "malformed" || got[0].Survey != "s1" || got[0].Source != 1 {
			t.Errorf("dead letters: %+v", got)
		}
		w.wantSettled()
	})
}

func TestADeadLetterThatCannotBeStoredKeepsItsEvent(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.start()
		must(t, w.js.DeleteStream(t.Context(), w.layout.Names.DeadLetters()))
		w.publishMalformed("s1", "{}")
		w.advance(10 * time.Second)
		if i := w.info(); i.NumAckPending != 1 {
			t.Errorf("%d events wait, want the one that could not be buried", i.NumAckPending)
		}
		w.wantLog("a dead letter could not be stored")
		w.provision()
		w.advance(ackWait + time.Second)
		if got := w.letters(); len(got) != 1 {
			t.Errorf("%d dead letters, want 1", len(got))
		}
		w.wantSettled()
	})
}

// panicking panics at one survey's events and sends the others.
type panicking struct {
	consumer.Sender
	at    atomic.Value // an events.Survey; none: at nobody's
	times atomic.Int32
}

func (p *panicking) begin(s events.Survey) { p.at.Store(s) }

func (p *panicking) Send(ctx context.Context, t *delivery.Target, e events.Event, m delivery.Meta) delivery.Attempt {
	if e.Survey == p.at.Load() {
		p.times.Add(1)
		panic("the answer to everything")
	}
	return p.Sender.Send(ctx, t, e, m)
}

func TestAPanicOnOneEventIsADeadLetterWithItsStackAndTheProcessLives(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.endpoint("s1")
		w.endpoint("cursed")
		p := &panicking{}
		p.begin("cursed")
		w.wrap = func(s consumer.Sender) consumer.Sender { p.Sender = s; return p }
		w.start()
		cursed := w.publish("cursed")
		id := w.publish("s1")
		w.advance(3 * ackWait)
		w.wantDelivered(id, 1)
		if n := p.times.Load(); n != 1 {
			t.Errorf("the event was tried %d times, want once", n)
		}
		got := w.letters()
		if len(got) != 1 || got[0].Reason != "panic" || !strings.Contains(got[0].Stack, "panicking") || got[0].Detail == "" || strings.Contains(got[0].Detail, "the answer") {
			t.Fatalf("dead letters: %+v", got)
		}
		if string(got[0].Body) != w.published[cursed].body {
			t.Error("the dead letter's body is not the event's")
		}
		p.begin("nobody")
		next := w.publish("cursed")
		w.advance(time.Second)
		w.wantDelivered(next, 1) // the attempt that panicked keeps nobody away from the endpoint
		w.wantSettled()
	})
}

// The same of an event that waited in its lane: it panics when it is tried from there.
func TestAPanicOnAParkedEventIsADeadLetterWithItsStackAndTheProcessLives(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		registry := prometheus.NewRegistry()
		w.metrics = registry
		w.endpoint("cursed").answers(500)
		w.endpoint("s1")
		p := &panicking{}
		w.wrap = func(s consumer.Sender) consumer.Sender { p.Sender = s; return p }
		w.start()
		w.publish("cursed")
		w.advance(time.Second)
		if len(w.parked()) != 1 {
			t.Fatal("the event is not parked")
		}
		p.begin("cursed")
		w.advance(time.Minute)
		got := w.letters()
		if len(got) != 1 || got[0].Reason != "panic" || !strings.Contains(got[0].Stack, "panicking") {
			t.Fatalf("dead letters: %+v", got)
		}
		if n := count(t, registry, "webhooks_panics_total"); n != 1 {
			t.Errorf("%v panics are counted, want 1", n)
		}
		w.endpoint("cursed").answers(200)
		p.begin("nobody")
		id, next := w.publish("s1"), w.publish("cursed")
		w.advance(time.Minute)
		w.wantDelivered(id, 1)
		w.wantDelivered(next, 1) // the attempt that panicked keeps nobody away from the endpoint
	})
}
