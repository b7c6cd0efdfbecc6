package consumer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/mark"
)

var nopLog = zerolog.Nop()

func TestTheFirstStartSendsNewEventsOnlyAndSaysHowManyAreOlder(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		if err := w.js.DeleteConsumer(t.Context(), "RESPONSES", "webhooks"); err != nil {
			t.Fatal(err)
		}
		if err := w.bucket("webhook_state").Purge(t.Context(), "mark"); err != nil {
			t.Fatal(err)
		}
		w.endpoint("s1")
		old := w.publish("s1")
		w.start()
		id := w.publish("s1")
		w.advance(time.Second)
		w.wantDelivered(old, 0)
		w.wantDelivered(id, 1)
		w.wantLog(`"older":1`)
		delete(w.published, old) // it was there before the service: nothing is owed
	})
}

func TestADeletedConsumerIsCreatedAgainBehindTheMark(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		r := w.start()
		first := w.publish("s1")
		w.advance(5 * time.Second)
		r.leave()
		if err := w.js.DeleteConsumer(t.Context(), "RESPONSES", "webhooks"); err != nil {
			t.Fatal(err)
		}
		second := w.publish("s1")
		w.start()
		w.advance(5 * time.Second)
		w.wantDelivered(first, 1)
		w.wantDelivered(second, 1)
		w.wantLog("created again behind the mark")
	})
}

func TestAConsumerDeletedMidRunComesBackByItself(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		w.start()
		first := w.publish("s1")
		w.advance(5 * time.Second)
		if err := w.js.DeleteConsumer(t.Context(), "RESPONSES", "webhooks"); err != nil {
			t.Fatal(err)
		}
		second := w.publish("s1")
		w.advance(5 * time.Second)
		w.wantDelivered(first, 1)
		w.wantDelivered(second, 1)
		w.wantSettled()
	})
}

func TestAnEmptiedConsumerStateSendsNothingAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file string){
		"truncated": func(t *testing.T, file string) { must(t, os.Truncate(file, 0)) },
		"removed":   func(t *testing.T, file string) { must(t, os.Remove(file)) },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) { w.calm = often; emptiedState(t, w, damage) })
		})
	}
}

func emptiedState(t *testing.T, w *world, damage func(*testing.T, string)) {
	w.endpoint("s1")
	r := w.start()
	var ids []string
	for range 30 {
		ids = append(ids, w.publish("s1"))
		w.advance(time.Second)
	}
	w.advance(10 * time.Second)
	w.halt()
	damage(t, w.stateOf(t, "webhooks"))
	w.boot()
	waiting := w.publish("s1")
	w.advance(time.Minute)
	w.wantRequests("s1", 30)
	w.wantLog("the live consumer's state was lost")
	err := r.consumer.Ready()
	if err == nil || !strings.Contains(err.Error(), "state was lost") {
		t.Errorf("ready says %v, want the alarm", err)
	}
	alarm, err := mark.Check(t.Context(), w.js, w.layout)
	must(t, err)
	if alarm == nil || !strings.Contains(alarm.Hint(), "webhooks provision --resume-from mark") {
		t.Errorf("the check says %v", alarm)
	}
	point, err := mark.ParseResumePoint("mark")
	must(t, err)
	next, err := mark.Resume(t.Context(), w.js, w.layout, point)
	must(t, err)
	if next != 31 {
		t.Errorf("resumes at %d, want 31", next)
	}
	w.advance(10 * time.Second)
	w.wantDelivered(waiting, 1)
	for _, id := range ids {
		w.wantDelivered(id, 1)
	}
	must(t, r.consumer.Ready())
	w.wantSettled()
}

// A state that cannot be read is another thing than one that is empty: the server
// neither opens the consumer nor makes it anew until somebody removes what is left.
func TestADamagedConsumerStateSaysWhatToRemoveAndSendsNothingAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		r := w.start()
		var ids []string
		for range 30 {
			ids = append(ids, w.publish("s1"))
			w.advance(time.Second)
		}
		w.advance(10 * time.Second)
		w.halt()
		file := w.stateOf(t, "webhooks")
		must(t, os.Truncate(file, 3))
		w.boot()
		ids = append(ids, w.publish("s1"))
		w.advance(time.Minute)
		w.wantRequests("s1", 30)
		err := r.consumer.Ready()
		if damaged, ok := errors.AsType[*mark.Damaged](err); !ok || !strings.Contains(damaged.Hint(), "streams/RESPONSES/obs/webhooks") || damaged.From != 31 {
			t.Errorf("ready says %v, want what is damaged", err)
		}
		w.halt()
		must(t, os.RemoveAll(filepath.Dir(file)))
		w.boot()
		w.advance(time.Minute)
		w.wantAllDelivered(ids)
		must(t, r.consumer.Ready())
		w.wantSettled()
	})
}

// stateOf finds the file the server keeps a consumer's state in.
func (w *world) stateOf(t *testing.T, consumer string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.server.Dir(), "jetstream", "*", "streams", "RESPONSES", "obs", consumer, "o.dat"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v (%v), want the state file of consumer %s", found, err, consumer)
	}
	return found[0]
}

func TestARecreatedStreamStopsAndWaitsForAPerson(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		r := w.start()
		first := w.publish("s1")
		w.advance(5 * time.Second)
		must(t, w.js.DeleteStream(t.Context(), "RESPONSES"))
		delete(w.published, first)
		if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "RESPONSES", Subjects: w.layout.Names.Subjects()}); err != nil {
			t.Fatal(err)
		}
		second := w.publish("s1")
		w.advance(time.Minute)
		w.wantRequests("s1", 1)
		w.wantLog("the event stream is another one")
		if r.consumer.Ready() == nil {
			t.Error("ready in spite of another event stream")
		}
		point, err := mark.ParseResumePoint("first")
		must(t, err)
		_, err = mark.Resume(t.Context(), w.js, w.layout, point)
		must(t, err)
		w.advance(10 * time.Second)
		w.wantDelivered(second, 1)
		must(t, r.consumer.Ready())
		w.published[first] = nil
		delete(w.published, first)
		w.internet.at("s1").forget(first)
	})
}

// Without a look at the mark nothing that a pull brings may be handled. Pulled all the
// same, it would wait for AckWait, again and again, on every replica.
func TestAReconnectPullsNothingBeforeTheMarkWasLookedAt(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		w.start()
		w.publish("s1")
		w.advance(5 * time.Second)
		must(t, w.js.DeleteKeyValue(t.Context(), w.layout.Names.State()))
		w.wire.Cut(bustest.TheWrite, "$JS.API.CONSUMER.MSG.NEXT.RESPONSES")
		w.advance(5 * time.Second)
		if w.wire.Armed() {
			t.Fatal("the connection was not lost")
		}
		ids := w.publishMany("s1", 20)
		w.advance(5 * time.Second)
		w.wantRequests("s1", 1)
		w.provision()
		w.advance(5 * time.Second)
		for _, id := range ids {
			w.wantDelivered(id, 1)
		}
		w.wantSettled()
	})
}

func TestAnIntactRestartOfEverythingSendsNothingAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.calm = often
		w.endpoint("s1")
		r := w.start()
		id := w.publish("s1")
		w.advance(5 * time.Second)
		r.leave()
		w.halt()
		w.boot()
		w.start()
		next := w.publish("s1")
		w.advance(2 * ackWait)
		w.wantDelivered(id, 1)
		w.wantDelivered(next, 1)
		w.wantRequests("s1", 2)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
