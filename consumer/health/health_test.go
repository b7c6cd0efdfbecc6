package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
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
	b, err := Open(t.Context(), js, events.Names{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return b
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
		must(t, a.Failed(t.Context(), "s1", "timeout", began, began.Add(5*time.Second)))
		if _, there := a.Of("s1"); !there {
			t.Error("who wrote it does not see it at once")
		}
		time.Sleep(time.Minute)
		must(t, b.Failed(t.Context(), "s1", "5xx", time.Now(), time.Time{}))
		synctest.Wait()
		for _, board := range []*Board{a, b} {
			r, there := board.Of("s1")
			if !there || !r.Since.Equal(began) || r.Failures != 2 || r.Reason != "5xx" {
				t.Errorf("a replica knows %+v (%v)", r, there)
			}
		}
		must(t, a.Clear(t.Context(), "s1"))
		must(t, a.Clear(t.Context(), "s1")) // again is no error
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
			go func() { done <- b.Failed(t.Context(), "s1", "5xx", time.Now(), time.Time{}) }()
		}
		for range 5 {
			must(t, <-done)
		}
		if r, _ := b.Of("s1"); r.Failures != 5 {
			t.Errorf("%d failures are counted, want 5", r.Failures)
		}
	})
}

func TestABucketMadeAnewIsNoticedWithinTwoMinutes(t *testing.T) {
	story(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		b := open(t, js)
		defer b.Close()
		must(t, b.Failed(t.Context(), "old", "5xx", time.Now(), time.Time{}))
		time.Sleep(time.Second)
		must(t, js.DeleteKeyValue(t.Context(), events.Names{}.Health()))
		time.Sleep(time.Second)
		bucket(t, js)
		other := open(t, js)
		defer other.Close()
		must(t, other.Failed(t.Context(), "new", "5xx", time.Now(), time.Time{}))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, there := b.Of("old"); there {
			t.Error("a record that went with the bucket is still there")
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
		must(t, b.Failed(t.Context(), "s1", "5xx", time.Now(), time.Time{}))
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
