package health

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

func TestWhoOnlyLooksSeesWhatTheReplicasKnow(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		must(t, b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "timeout"}))
		owe(t, b, "s2", 7, time.Now().Add(time.Minute))
		owe(t, b, "gone", 7, time.Now().Add(time.Minute))
		must(t, b.Forget(t.Context(), "gone"))
		kv, err := js.KeyValue(t.Context(), events.Names{}.Health())
		must(t, err)
		_, err = kv.Put(t.Context(), "newer", []byte(`{"format":"2"}`))
		must(t, err)
		found := map[events.Survey]Record{}
		for e, err := range List(t.Context(), js, events.Names{}) {
			must(t, err)
			found[e.Survey] = e.Record
		}
		if len(found) != 2 || found["s1"].Reason != "timeout" || found["s2"].OwedFrom != 7 {
			t.Errorf("the list is %+v", found)
		}
		for _, err := range List(t.Context(), js, events.Names{}) {
			must(t, err)
			break // and the watch ends
		}
		for survey, want := range map[events.Survey]bool{"s1": true, "s2": true, "gone": false, "newer": false, "other": false} {
			r, known, err := Look(t.Context(), js, events.Names{}, survey)
			if err != nil || known != want || !reflect.DeepEqual(r, found[survey]) {
				t.Errorf("a look at %s: %+v, %v, %v", survey, r, known, err)
			}
		}
	})
}

func TestWhatIsWaivedStaysWaivedAndLaterEventsStayPromised(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.Names{}.Stream(), Subjects: events.Names{}.Subjects()})
		must(t, err)
		if owed, err := Waive(t.Context(), js, events.Names{}, "s1", 10); err != nil || owed {
			t.Errorf("nothing was owed, and is waived: %v, %v", owed, err)
		}
		must(t, b.Disable(t.Context(), "s1", Disabled{At: time.Now(), By: ByService, Why: "it failed", Revision: 3}, "5xx"))
		until := time.Now().Add(time.Minute)
		owe(t, b, "s1", 1, until)
		if owed, err := Waive(t.Context(), js, events.Names{}, "s1", 10); err != nil || !owed {
			t.Errorf("what was owed is not waived: %v, %v", owed, err)
		}
		r, _, err := Look(t.Context(), js, events.Names{}, "s1")
		must(t, err)
		if r.OwedFrom != 10 || r.From != 10 || !r.OwedUntil.Equal(until) || r.Disabled == nil {
			t.Errorf("the record is %+v", r)
		}
		if owed, err := Waive(t.Context(), js, events.Names{}, "s1", 10); err != nil || owed {
			t.Errorf("waived twice: %v, %v", owed, err)
		}
	})
}

// TestWhatIsWaivedIsNotPromisedByWhoHasNotHeard: the owner of the lane decides by what it
// knows, and may come to write it after a person has waived.
func TestWhatIsWaivedIsNotPromisedByWhoHasNotHeard(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.Names{}.Stream(), Subjects: events.Names{}.Subjects()})
		must(t, err)
		must(t, b.Disable(t.Context(), "s1", Disabled{At: time.Now(), By: ByService, Why: "it failed", Revision: 3}, "5xx"))
		owe(t, b, "s1", 1, time.Now().Add(time.Minute))
		_, err = Waive(t.Context(), js, events.Names{}, "s1", 10)
		must(t, err)
		r, err := b.Owe(t.Context(), "s1", Promise{1, time.Now().Add(2 * time.Minute)}, Stream{At: time.Now(), First: 1, Last: 20})
		must(t, err)
		if r.OwedFrom != 10 {
			t.Errorf("what was waived is promised from %d on, want from 10", r.OwedFrom)
		}
	})
}

// TestAPassDoesNotUndoWhatWasWrittenBesideIt: it brings what was there when it began.
func TestAPassDoesNotUndoWhatWasWrittenBesideIt(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		must(t, b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "timeout"}))
		kv, err := js.KeyValue(t.Context(), events.Names{}.Health())
		must(t, err)
		old, err := kv.Get(t.Context(), "s1")
		must(t, err)
		p := &pass{began: time.Now(), there: map[events.Survey]bool{}}
		time.Sleep(time.Millisecond)
		must(t, b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "503"}))
		must(t, b.Failed(t.Context(), "s2", Failure{At: time.Now(), Reason: "503"}))
		synctest.Wait() // its own watch has brought them as well
		b.apply(old, p)
		b.forgetAllBut(p)
		for _, survey := range []events.Survey{"s1", "s2"} {
			if r, _ := b.Of(survey); r.Reason != "503" {
				t.Errorf("%s: %+v, want what was written last", survey, r)
			}
		}
		restored := &pass{began: time.Now().Add(time.Millisecond), there: map[events.Survey]bool{}}
		b.apply(old, restored)
		b.forgetAllBut(restored)
		if r, _ := b.Of("s1"); r.Reason != "timeout" {
			t.Errorf("of a bucket that was restored: %+v, want what it says", r)
		}
		if r, known := b.Of("s2"); known {
			t.Errorf("what a restored bucket does not have: %+v", r)
		}
	})
}
