package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) {
	ats.Register()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// story runs f in a bubble around a server with a health bucket.
func story(t *testing.T, f func(t *testing.T, s *bustest.Server, js jetstream.JetStream)) {
	t.Helper()
	bustest.EmptyPools()
	synctest.Test(t, func(t *testing.T) {
		s := bustest.New(t, server.Options{})
		nc := s.Connect()
		js := bustest.JetStream(t, nc)
		bucket(t, js)
		f(t, s, js)
		nc.Close()
		s.Halt()
		synctest.Wait()
	})
}

func bucket(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: events.Names{}.Health()}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, js jetstream.JetStream) *Board {
	t.Helper()
	b, err := Open(t.Context(), js, events.Names{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func owe(t *testing.T, b *Board, survey events.Survey, from uint64, until time.Time) {
	t.Helper()
	_, err := b.Owe(t.Context(), survey, Promise{from, until}, Stream{At: until.Add(-90 * time.Second), First: 1, Last: from})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryReplicaSeesAnEndpointFailAndRecover(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		a, b := open(t, js), open(t, js)
		defer a.Close()
		defer b.Close()
		began := time.Now()
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.Names{}.Stream(), Subjects: events.Names{}.Subjects()})
		must(t, err)
		for range 7 {
			_, err := js.Publish(t.Context(), events.Names{}.Subject("s1"), nil)
			must(t, err)
		}
		must(t, a.Failed(t.Context(), "s1", Failure{At: began, Reason: "timeout", NextProbe: began.Add(5 * time.Second)}))
		if _, there := a.Of("s1"); !there {
			t.Error("who wrote it does not see it at once")
		}
		time.Sleep(time.Minute)
		must(t, b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "5xx"}))
		synctest.Wait()
		for _, board := range []*Board{a, b} {
			r, there := board.Of("s1")
			if !there || !r.Since.Equal(began) || r.Failures != 2 || r.From != 8 || r.Reason != "5xx" {
				t.Errorf("a replica knows %+v (%v)", r, there)
			}
		}
		must(t, a.Works(t.Context(), "s1", time.Time{}))
		must(t, a.Works(t.Context(), "s1", time.Time{})) // again is no error
		synctest.Wait()
		if _, there := b.Of("s1"); there {
			t.Error("the other replica does not hear that it works again")
		}
	})
}

func TestWritersDoNotOverwriteEachOther(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		done := make(chan error)
		for range 5 {
			go func() { done <- b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "5xx"}) }()
		}
		for range 5 {
			must(t, <-done)
		}
		if r, _ := b.Of("s1"); r.Failures != 5 {
			t.Errorf("%d failures are counted, want 5", r.Failures)
		}
	})
}

// TestABucketMadeAnewIsFilledWithWhatIsKnown: what is owed to an endpoint stands
// nowhere else.
func TestABucketMadeAnewIsFilledWithWhatIsKnown(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		must(t, b.Failed(t.Context(), "old", Failure{At: time.Now(), Reason: "5xx"}))
		time.Sleep(time.Second)
		must(t, js.DeleteKeyValue(t.Context(), events.Names{}.Health()))
		time.Sleep(time.Second)
		bucket(t, js)
		other := open(t, js)
		defer other.Close()
		must(t, other.Failed(t.Context(), "new", Failure{At: time.Now(), Reason: "5xx"}))
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		for _, board := range []*Board{b, other} {
			if r, there := board.Of("old"); !there || r.Failures != 1 {
				t.Errorf("a record that went with the bucket is not there again: %+v", r)
			}
		}
		if _, there := b.Of("new"); !there {
			t.Error("the new bucket's record is not seen")
		}
	})
}

func TestARestartOfNATSIsSurvived(t *testing.T) {
	story(t, func(t *testing.T, s *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		s.Halt()
		time.Sleep(5 * time.Second)
		s.Boot()
		time.Sleep(5 * time.Second)
		must(t, b.Failed(t.Context(), "s1", Failure{At: time.Now(), Reason: "5xx"}))
		if _, there := b.Of("s1"); !there {
			t.Error("nothing is known after a restart")
		}
	})
}

func TestANewerFormatIsLeftAlone(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		kv, err := js.KeyValue(t.Context(), events.Names{}.Health())
		must(t, err)
		_, err = kv.Put(t.Context(), "s1", []byte(`{"format":"2"}`))
		must(t, err)
		b := open(t, js)
		defer b.Close()
		if _, there := b.Of("s1"); there {
			t.Error("a record of another format is taken for ours")
		}
	})
}

func TestAPromiseStandsUntilAllOfItIsBrought(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		began := time.Now()
		must(t, b.Failed(t.Context(), "s1", Failure{At: began, Reason: "5xx"}))
		owe(t, b, "s1", 100, began.Add(time.Minute))
		owe(t, b, "s1", 200, began.Add(2*time.Minute))
		must(t, b.Works(t.Context(), "s1", time.Time{}))
		r, _ := b.Of("s1")
		if r.Failing() || r.OwedFrom != 100 || !r.OwedUntil.Equal(began.Add(2*time.Minute)) {
			t.Fatalf("the record is %+v", r)
		}
		for _, c := range []struct {
			seq  uint64
			at   time.Time
			owed bool
		}{{99, began, false}, {100, began, true}, {5000, began.Add(time.Minute), true}, {100, r.OwedUntil, false}} {
			if got := r.Owes(c.seq, c.at); got != c.owed {
				t.Errorf("event %d of %s is owed: %v", c.seq, c.at, got)
			}
		}
		must(t, b.Brought(t.Context(), "s1", 150))
		must(t, b.Brought(t.Context(), "s1", 120)) // an old owner's word
		must(t, b.Paid(t.Context(), "s1", began.Add(time.Minute)))
		if r, _ := b.Of("s1"); r.OwedFrom != 150 {
			t.Errorf("more was promised than was paid, and the record is %+v", r)
		}
		must(t, b.Paid(t.Context(), "s1", began.Add(2*time.Minute)))
		if r, there := b.Of("s1"); there {
			t.Errorf("everything is paid, and there is still %+v", r)
		}
	})
}

func TestAPromiseThatHasLapsedIsNotProlonged(t *testing.T) {
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d * time.Minute) }
	var r Record
	r.promise(Promise{10, at(2)}, at(0))
	r.promise(Promise{20, at(3)}, at(1))
	if r.OwedFrom != 10 || !r.OwedUntil.Equal(at(3)) || len(r.OwedNext) != 0 {
		t.Errorf("one that stands became %+v", r)
	}
	r.promise(Promise{50, at(7)}, at(5))
	r.promise(Promise{60, at(8)}, at(6))
	for _, c := range []struct {
		seq  uint64
		at   time.Time
		owed bool
	}{{10, at(2), true}, {30, at(4), false}, {49, at(6), false}, {50, at(5), true}, {70, at(7), true}, {70, at(8), false}} {
		if got := r.Owes(c.seq, c.at); got != c.owed {
			t.Errorf("event %d of %s is owed: %v", c.seq, c.at, got)
		}
	}
	if again, err := decode(encode(r)); err != nil || len(again.OwedNext) != 1 || again.OwedNext[0].From != 50 {
		t.Errorf("it is read again as %+v: %v", again, err)
	}
	r.raise(55)
	r.setPromises(r.OwedNext)
	if r.OwedFrom != 55 || len(r.OwedNext) != 0 {
		t.Errorf("after the first was kept it is %+v", r)
	}
	r.Disabled = &Disabled{}
	r.promise(Promise{40, at(20)}, at(18))
	if r.OwedFrom != 40 || !r.Owes(41, at(12)) {
		t.Errorf("what came while it was disabled is not owed: %+v", r)
	}
}

func TestAChangedEndpointIsNoLongerDisabled(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		must(t, b.Disable(t.Context(), "s1", Disabled{At: time.Now(), By: ByEndpoint, Why: "it answered 410 Gone", Revision: 3}, "gone"))
		r, _ := b.Of("s1")
		if !r.DisabledAt(3) || r.DisabledAt(4) || !r.Failing() {
			t.Errorf("the record is %+v", r)
		}
		time.Sleep(time.Hour)
		must(t, b.Restart(t.Context(), "s1", time.Now()))
		if r, _ := b.Of("s1"); r.Disabled != nil || !r.Since.Equal(time.Now()) {
			t.Errorf("the record is %+v", r)
		}
		must(t, b.Forget(t.Context(), "s1"))
		if _, there := b.Of("s1"); there {
			t.Error("what was removed is still known")
		}
	})
}

// TestWhatIsNotedOfAnotherStreamIsForgotten, and nothing else: an endpoint may have begun to
// fail at an event that was not there yet when the stream was looked at.
func TestWhatIsNotedOfAnotherStreamIsForgotten(t *testing.T) {
	made := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		since time.Time
		from  uint64
		want  uint64
	}{
		"of one that was removed":        {made.Add(-time.Hour), 500, 7},
		"of this one":                    {made.Add(time.Hour), 80, 80},
		"of this one, a moment ago":      {made.Add(time.Hour), 103, 103},
		"of this one, by what comes now": {made.Add(time.Hour), 101, 101},
	} {
		r := Record{Since: c.since, From: c.from}
		r.forget(Stream{First: 1, Last: 100, Born: made}, 7)
		if r.From != c.want {
			t.Errorf("%s: nothing was delivered from %d on, want %d", name, r.From, c.want)
		}
	}
}
