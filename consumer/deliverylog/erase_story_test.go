package deliverylog

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/popsee/webhooks/consumer/walk"
)

// mentions is how many messages of the log hold a text.
func (w *world) mentions(text string) (n int) {
	w.t.Helper()
	for msg, err := range walk.Stream(context.Background(), w.js, w.names.Attempts(), walk.Options{Bodies: true}) {
		must(w.t, err)
		plain, err := unpack(msg)
		must(w.t, err)
		if bytes.Contains(plain, []byte(text)) {
			n++
		}
	}
	return n
}

func TestEraseTakesOneEventsAttemptsAndNothingElse(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		log := New(w.js, w.names, Options{Replica: "a"})
		for i := range 300 {
			a := failed("s", fmt.Sprint("r-", i))
			a.Number = 1 + i%2
			log.Attempt(uint64(i/2)+1, a) //nolint:gosec // small
			if i == 100 {
				erasable := failed("s", "the-person")
				erasable.Snippet = "thank you, the-person of this street"
				log.Attempt(500, erasable)
				log.Attempt(502, erasable)
			}
		}
		log.Attempt(501, delivered("other", "the-person"))
		log.Settled(KindParked, "s", 500)
		must(t, log.Flush(context.Background()))
		before := w.read(Filter{})
		if w.mentions("the-person") == 0 {
			t.Fatal("nothing was planted")
		}
		counted, err := Erase(context.Background(), w.js, w.names, Erasure{Survey: "s", EventID: "the-person", DryRun: true})
		must(t, err)
		if counted.Records != 2 || counted.Messages != 1 || w.mentions("the-person") != 2 {
			t.Fatalf("a dry run counted %+v", counted)
		}
		erased, err := Erase(context.Background(), w.js, w.names, Erasure{Survey: "s", EventID: "the-person"})
		must(t, err)
		if fmt.Sprint(erased) != fmt.Sprint(counted) || fmt.Sprint(erased.Runs) != "[{500 500} {502 502}]" {
			t.Errorf("erased %+v, counted %+v", erased, counted)
		}
		if n := w.mentions("the-person"); n != 1 {
			t.Errorf("%d messages mention the person, want that of the other survey", n)
		}
		after := w.read(Filter{})
		if len(after) != len(before)-2+1 {
			t.Errorf("%d records of %d are left, want two fewer and one that says so", len(after), len(before))
		}
		if said := w.read(Filter{Kinds: []Kind{KindForgotten}}); len(said) != 1 || !said[0].Has(500) || said[0].Has(501) || said[0].Survey != "s" {
			t.Errorf("of what was erased stands there: %+v", said)
		}
		if parked := w.read(Filter{Kinds: []Kind{KindParked}}); len(parked) != 1 {
			t.Errorf("what was settled: %+v", parked)
		}
		again, err := Erase(context.Background(), w.js, w.names, Erasure{EventID: "the-person"})
		must(t, err)
		if again.Records != 1 || w.mentions("the-person") != 0 {
			t.Errorf("without a survey %+v was erased, and %d messages mention the person", again, w.mentions("the-person"))
		}
		if got, want := len(w.read(Filter{Kinds: []Kind{KindAttempt}})), 300; got != want {
			t.Errorf("%d attempts of others are left, want %d", got, want)
		}
		if _, err := Erase(context.Background(), w.js, w.names, Erasure{}); err == nil {
			t.Error("everything was erased")
		}
	})
}

func TestARecordWithoutASurveyHidesNoOther(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		log := New(w.js, w.names, Options{Replica: "a"})
		log.Settled(KindDead, "", 7) // a body that nobody could read, on a subject that names no survey
		log.Settled(KindForgotten, "", 8)
		shard := w.names.Shard("")
		for i := range 1000 { // somebody else's in the same message
			if survey := delivered(fmt.Sprint("s", i), "r"); w.names.Shard(survey.Survey) == shard {
				log.Attempt(9, survey)
				break
			}
		}
		must(t, log.Flush(context.Background()))
		if all := w.read(Filter{}); len(all) != 3 {
			t.Errorf("%d of 3 records can be read", len(all))
		}
	})
}
