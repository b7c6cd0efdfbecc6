package config_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
	"github.com/popsee/webhooks/events"
)

func at(host string) func(*config.Endpoint) {
	return func(e *config.Endpoint) { e.URL = "https://" + host + "/" }
}

func TestOpenReturnsWithEverythingInMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 500 {
			w.put(events.Survey(fmt.Sprint("s", i)), at(fmt.Sprintf("h%d.example.com", i)))
		}
		w.remove("s7")
		s := w.open()
		if got := s.Len(); got != 499 {
			t.Errorf("%d endpoints, want 499", got)
		}
		wantHost(t, s, "s0", "h0.example.com:443")
		wantHost(t, s, "s499", "h499.example.com:443")
		_, _, err := s.Target(t.Context(), "s7")
		wantError(t, err, config.ErrNoEndpoint)
		if ok, asOf := s.Current(); !ok || asOf.After(time.Now()) {
			t.Errorf("current = %v as of %v, want true and not later than now", ok, asOf)
		}
	})
}

func TestOpenOfAnEmptyBucketReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		if got := w.open().Len(); got != 0 {
			t.Errorf("%d endpoints, want none", got)
		}
	})
}

func TestOpenFailsWithoutABucket(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, err := config.Open(t.Context(), w.js, "another", config.StoreOptions{})
		wantError(t, err, jetstream.ErrBucketNotFound)
	})
}

func TestOpenEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := config.Open(ctx, w.js, bucket, config.StoreOptions{}); err == nil {
			t.Error("opened without a server")
		}
	})
}

func TestChangesArrive(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.open()
		w.put("s1", at("a.example.com"))
		within(t, time.Second, "created", func() bool { return hostOf(t, s, "s1") == "a.example.com:443" })
		e := w.put("s1", at("b.example.com"), func(e *config.Endpoint) { e.MaxInFlight, e.RatePerSecond = 3, 0.5 })
		within(t, time.Second, "changed", func() bool { return hostOf(t, s, "s1") == "b.example.com:443" })
		target, limits, err := s.Target(t.Context(), "s1")
		check(t, err)
		if want := (config.Limits{MaxInFlight: 3, RatePerSecond: 0.5, Revision: e.Revision, Enabled: true}); limits != want {
			t.Errorf("limits %+v, want %+v", limits, want)
		}
		if target.Revision() != e.Revision {
			t.Errorf("target of revision %d, want %d", target.Revision(), e.Revision)
		}
		w.put("s1", func(e *config.Endpoint) { e.Enabled = false })
		within(t, time.Second, "switched off", func() bool { return hostOf(t, s, "s1") == "" })
		_, limits, err = s.Target(t.Context(), "s1")
		wantError(t, err, config.ErrNoEndpoint)
		if limits.Enabled || limits.Revision == 0 {
			t.Errorf("limits %+v, want a revision that is not enabled", limits)
		}
		w.put("s1", at("c.example.com"))
		within(t, time.Second, "switched on", func() bool { return hostOf(t, s, "s1") == "c.example.com:443" })
		w.remove("s1")
		within(t, time.Second, "removed", func() bool { return s.Len() == 0 })
		_, _, err = s.Target(t.Context(), "s1")
		wantError(t, err, config.ErrNoEndpoint)
		w.put("s1", at("d.example.com"))
		within(t, time.Second, "created again", func() bool { return hostOf(t, s, "s1") == "d.example.com:443" })
	})
}

func TestOwnWritesAreReadAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.open()
		e, err := s.Put(t.Context(), w.endpoint("s1"))
		check(t, err)
		wantHost(t, s, "s1", "hooks.example.com:443")
		got, err := s.Get(t.Context(), "s1")
		check(t, err)
		if got.Revision != e.Revision {
			t.Errorf("revision %d, want %d", got.Revision, e.Revision)
		}
		check(t, s.Remove(t.Context(), "s1", e.Revision))
		within(t, time.Second, "removed", func() bool { return s.Len() == 0 })
		_, err = s.Get(t.Context(), "s1")
		wantError(t, err, config.ErrNoEndpoint)
	})
}

func TestABucketMadeAnewIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 50 {
			w.put(events.Survey(fmt.Sprint("old", i)))
		}
		w.put("both", at("old.example.com"))
		s := w.open()
		wantHost(t, s, "both", "old.example.com:443")
		seen := record(s)
		w.deleteBucket()
		w.makeBucket()
		w.put("new", at("new.example.com"))
		w.put("both", at("new.example.com"))
		within(t, 2*time.Minute, "watched anew", func() bool { return s.Len() == 2 })
		wantHost(t, s, "both", "new.example.com:443")
		wantHost(t, s, "new", "new.example.com:443")
		wantHost(t, s, "old3", "")
		if c := seen.of("old3"); !c.Removed {
			t.Errorf("told of old3: %+v, want its removal", c)
		}
		if c := seen.of("both"); c.Removed || c.Revision != 2 {
			t.Errorf("told of both: %+v, want revision 2", c)
		}
		w.put("later", at("later.example.com"))
		within(t, time.Second, "followed again", func() bool { return hostOf(t, s, "later") == "later.example.com:443" })
	})
}

// Only the time it was made tells this bucket from the one that was watched.
func TestABucketMadeAnewThatLooksTheSameIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		write := func(host string) {
			for _, survey := range []events.Survey{"s1", "s2", "s3"} {
				w.put(survey, at(host))
			}
		}
		write("old.example.com")
		s := w.open()
		time.Sleep(time.Second)
		w.deleteBucket()
		w.makeBucket()
		write("new.example.com")
		within(t, 2*time.Minute, "watched anew", func() bool { return hostOf(t, s, "s3") == "new.example.com:443" })
		wantHost(t, s, "s1", "new.example.com:443")
	})
}

func TestADeletedBucketKeepsWhatIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("s1", at("a.example.com"))
		s := w.open()
		w.deleteBucket()
		within(t, 5*time.Minute, "no longer current", func() bool { ok, _ := s.Current(); return !ok })
		wantHost(t, s, "s1", "a.example.com:443")
		_, _, err := s.Target(t.Context(), "s2")
		wantError(t, err, config.ErrUnavailable)
		if errors.Is(err, config.ErrNoEndpoint) {
			t.Error("a survey nobody can ask about is said to have no endpoint")
		}
		time.Sleep(time.Hour)
		wantHost(t, s, "s1", "a.example.com:443")
		w.makeBucket()
		w.put("s2", at("b.example.com"))
		within(t, time.Minute, "watched anew", func() bool { return hostOf(t, s, "s2") == "b.example.com:443" && s.Len() == 1 })
		if lines := strings.Count(w.log.String(), "\n"); lines > 400 {
			t.Errorf("%d log lines in an hour without a bucket", lines)
		}
	})
}

func TestAPurgedBucketIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("s1")
		w.put("s2")
		s := w.open()
		stream, err := w.js.Stream(t.Context(), "KV_"+bucket)
		check(t, err)
		check(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+bucket+".s1")))
		within(t, 2*time.Minute, "the purged endpoint is gone", func() bool { return s.Len() == 1 })
		check(t, stream.Purge(t.Context()))
		within(t, 2*time.Minute, "all endpoints are gone", func() bool { return s.Len() == 0 })
		w.put("s1")
		within(t, time.Second, "followed again", func() bool { return s.Len() == 1 })
	})
}

// After a purge the bucket's last message is older than its last sequence; that
// must not look like a missed change for ever.
func TestAQuietWatchIsNotBegunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("s1")
		w.put("s2")
		w.remove("s2")
		check(t, w.kv.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)))
		s := w.open()
		time.Sleep(24 * time.Hour)
		if ok, asOf := s.Current(); !ok || time.Since(asOf) > 2*time.Minute {
			t.Errorf("current = %v as of %v", ok, asOf)
		}
		if got := w.log.String(); got != "" {
			t.Errorf("log of a quiet day: %s", got)
		}
	})
}

func TestAMissWhileTheWatchMayBeBehindAsksTheBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for range 20 {
			w.put("filler")
		}
		w.put("off", func(e *config.Endpoint) { e.Enabled = false })
		s := w.open()
		w.deleteBucket() // and made anew: its first revisions are swallowed by the watch
		w.makeBucket()
		w.put("s1", at("a.example.com"))
		w.put("off", at("on.example.com"))
		s.Stale()
		wantHost(t, s, "s1", "a.example.com:443")
		wantHost(t, s, "off", "on.example.com:443")
		_, _, err := s.Target(t.Context(), "s3")
		wantError(t, err, config.ErrNoEndpoint)
		w.put("gone")
		w.remove("gone")
		_, _, err = s.Target(t.Context(), "gone")
		wantError(t, err, config.ErrNoEndpoint)
		e, err := s.Get(t.Context(), "s1")
		check(t, err)
		if e.URL != "https://a.example.com/" {
			t.Errorf("got %s", e.URL)
		}
	})
}

// TestAnEndpointIsThereForWhatIsPublishedAfterIt: the watch still stands at another
// endpoint's change when the first event of the new one arrives.
func TestAnEndpointIsThereForWhatIsPublishedAfterIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.open()
		first := events.Survey("s1")
		release, ok := s.Hold(first, "new")
		for i := 2; !ok; i++ {
			first = events.Survey(fmt.Sprint("s", i))
			release, ok = s.Hold(first, "new")
		}
		w.put(first)
		w.put("new", at("new.example.com"))
		asked := make(chan error, 1)
		go func() {
			_, _, err := s.Target(context.Background(), "new")
			asked <- err
		}()
		for range 10_000 { // an answer that waits for nothing has been given by then
			runtime.Gosched()
		}
		release()
		if err := <-asked; err != nil {
			t.Errorf("what the bucket has had before the question: %v", err)
		}
	})
}

// TestNothingStoredIsSaidSoon: what nobody has stored an endpoint for waits for one
// look at the bucket, however many wait.
func TestNothingStoredIsSaidSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.open()
		began := time.Now()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if _, _, err := s.Target(t.Context(), events.Survey(fmt.Sprint("s", i))); !errors.Is(err, config.ErrNoEndpoint) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestNATSAwayIsNotAMissingEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, slow := w.connect(10 * time.Second)
		w.put("s1")
		s := w.openWith(options{js: slow})
		w.stop()
		synctest.Wait()
		_, _, err := s.Target(t.Context(), "s2")
		wantError(t, err, config.ErrUnavailable)
		wantHost(t, s, "s1", "hooks.example.com:443")
		w.start()
		time.Sleep(time.Second) // the writer is back, the store's connection not yet
		w.put("s2", at("b.example.com"))
		_, _, err = s.Target(t.Context(), "s2")
		wantError(t, err, config.ErrUnavailable)
		within(t, 30*time.Second, "back", func() bool {
			_, _, err := s.Target(t.Context(), "s2")
			if errors.Is(err, config.ErrNoEndpoint) {
				t.Fatal("the store trusts a watch that has missed everything since it was connected last")
			}
			return err == nil
		})
		within(t, 30*time.Second, "current", func() bool { ok, _ := s.Current(); return ok })
		w.put("s3", at("c.example.com"))
		within(t, 30*time.Second, "follows", func() bool { return hostOf(t, s, "s3") == "c.example.com:443" })
	})
}

func TestReadersNeverGoBackWhileAnEndpointChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("s1")
		s := w.open()
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				var last uint64
				for {
					target, limits, err := s.Target(context.Background(), "s1")
					if err != nil || target.Revision() < last || limits.Revision != target.Revision() {
						t.Errorf("revision %d after %d: %v", target.Revision(), last, err)
						return
					}
					last = target.Revision()
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		var last config.Endpoint
		for range 200 {
			last = w.put("s1", func(e *config.Endpoint) { e.Revision = last.Revision })
		}
		close(done)
		wg.Wait()
		within(t, time.Second, "the last revision", func() bool {
			_, limits, _ := s.Target(t.Context(), "s1")
			return limits.Revision == last.Revision
		})
	})
}

func TestInvalidValuesAreKeptWithTheirReason(t *testing.T) {
	values := map[string]string{
		"bad-json":  `{"url":`,
		"unknown":   `{"url":"https://a.example.com","enabled":true,"colour":"red"}`,
		"private":   `{"url":"https://10.0.0.1/","enabled":true}`,
		"empty":     ``,
		"too-large": `{"url":"https://a.example.com","enabled":true,"description":"` + strings.Repeat("x", 70_000) + `"}`,
	}
	inBubble(t, func(t *testing.T, w *world) {
		for k, v := range values {
			_, err := w.kv.PutString(t.Context(), k, v)
			check(t, err)
		}
		_, err := w.kv.PutString(t.Context(), "not.a/survey", "{}")
		check(t, err)
		w.put("good")
		s := w.open()
		if got := s.Len(); got != len(values)+1 {
			t.Errorf("%d endpoints, want %d", got, len(values)+1)
		}
		for k := range values {
			_, _, err := s.Target(t.Context(), events.Survey(k))
			wantError(t, err, config.ErrInvalidEndpoint)
			var invalid *config.InvalidError
			if !errors.As(err, &invalid) || invalid.Revision == 0 || string(invalid.Survey) != k {
				t.Errorf("%s: %#v does not say which endpoint", k, err)
			}
		}
		wantHost(t, s, "good", "hooks.example.com:443")
		listed := 0
		for e, err := range s.List() {
			if listed++; (err != nil) != (e.Survey != "good") {
				t.Errorf("%s: %v", e.Survey, err)
			}
		}
		if listed != len(values)+1 {
			t.Errorf("%d listed, want %d", listed, len(values)+1)
		}
		time.Sleep(10 * time.Minute)
		if got := w.log.String(); got != "" {
			t.Errorf("the watch was begun again: %s", got)
		}
		e, err := s.Get(t.Context(), "unknown")
		wantError(t, err, config.ErrInvalidEndpoint)
		w.put("unknown", func(fixed *config.Endpoint) { fixed.Revision = e.Revision })
		within(t, time.Second, "repaired", func() bool { return hostOf(t, s, "unknown") != "" })
	})
}

func TestASecretOfAMissingKeyIsOurFault(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		other := newRing(t)
		w.put("s1", func(e *config.Endpoint) {
			e.Secrets = []config.SealedSecret{sealed(t, other, "s1", plainSecret)}
		})
		w.put("copied", func(e *config.Endpoint) {
			e.Secrets = []config.SealedSecret{sealed(t, w.keys, "s1", plainSecret)}
		})
		past := time.Now().Add(-time.Hour)
		w.put("rotated", func(e *config.Endpoint) {
			old := sealed(t, other, "rotated", plainSecret)
			old.ExpiresAt = &past
			e.Secrets = append(e.Secrets, old)
		})
		s := w.open()
		_, _, err := s.Target(t.Context(), "s1")
		wantError(t, err, config.ErrUnsealable)
		if id := other.IDs()[0]; !strings.Contains(err.Error(), id) {
			t.Errorf("%q does not name key %s", err, id)
		}
		_, _, err = s.Target(t.Context(), "copied")
		wantError(t, err, config.ErrUnsealable)
		wantHost(t, s, "rotated", "hooks.example.com:443")
		wantNoSecret(t, err.Error()+w.log.String())
	})
}

// A ring is rotated while endpoints are in use: what waits for a new key has it as
// soon as the ring is there, and a key that is taken away opens nothing any more,
// not even what was open already.
func TestTheKeyRingIsReplacedWhileEndpointsAreInUse(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		key, err := config.GenerateKey()
		check(t, err)
		both, err := w.keys.Rotate(key)
		check(t, err)
		w.put("old")
		w.put("new", func(e *config.Endpoint) {
			e.Secrets = []config.SealedSecret{sealed(t, both, "new", plainSecret)}
		})
		s := w.open()
		wantHost(t, s, "old", "hooks.example.com:443")
		_, _, err = s.Target(t.Context(), "new")
		wantError(t, err, config.ErrUnsealable)
		s.SetKeys(both)
		wantHost(t, s, "new", "hooks.example.com:443")
		wantHost(t, s, "old", "hooks.example.com:443")
		newest, err := both.Remove(w.keys.IDs()[0])
		check(t, err)
		s.SetKeys(newest)
		wantHost(t, s, "new", "hooks.example.com:443")
		_, _, err = s.Target(t.Context(), "old")
		wantError(t, err, config.ErrUnsealable)
	})
}

func TestAStoreWithoutKeysDeliversUnsigned(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("unsigned", func(e *config.Endpoint) { e.Secrets = nil })
		w.put("signed")
		s, err := config.Open(t.Context(), w.js, bucket, config.StoreOptions{})
		check(t, err)
		defer s.Close()
		wantHost(t, s, "unsigned", "hooks.example.com:443")
		_, _, err = s.Target(t.Context(), "signed")
		wantError(t, err, config.ErrUnsealable)
	})
}

func TestIdleTargetsAreDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 100 {
			w.put(events.Survey(fmt.Sprint("s", i)))
		}
		s := w.open()
		if got := s.Targets(); got != 0 {
			t.Errorf("%d targets before anybody asked", got)
		}
		for i := range 100 {
			wantHost(t, s, events.Survey(fmt.Sprint("s", i)), "hooks.example.com:443")
		}
		first, _, err := s.Target(t.Context(), "s1")
		check(t, err)
		if again, _, _ := s.Target(t.Context(), "s1"); again != first {
			t.Error("the target is made anew for every look-up")
		}
		for range 10 {
			time.Sleep(2 * time.Minute)
			wantHost(t, s, "s1", "hooks.example.com:443")
		}
		if got := s.Targets(); got != 1 {
			t.Errorf("%d targets, want only the one in use", got)
		}
	})
}

func TestTargetsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.openWith(options{StoreOptions: config.StoreOptions{MaxTargets: 64}})
		for i := range 300 {
			w.put(events.Survey(fmt.Sprint("s", i)))
		}
		within(t, time.Second, "all there", func() bool { return s.Len() == 300 })
		for i := range 300 {
			wantHost(t, s, events.Survey(fmt.Sprint("s", i)), "hooks.example.com:443")
		}
		if got := s.Targets(); got > 64 {
			t.Errorf("%d targets, want at most 64", got)
		}
	})
}

// What does not fit in memory is asked for: an event is never taken for one of a
// survey without an endpoint.
func TestEndpointsPastTheBoundAreAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		_, slow := w.connect(10 * time.Second)
		for i := range 300 {
			w.put(events.Survey(fmt.Sprint("s", i)))
		}
		s := w.openWith(options{js: slow, StoreOptions: config.StoreOptions{MaxEndpoints: 64}})
		past := s.Unloaded()
		if s.Len() != 300 || past < 300-64 {
			t.Fatalf("%d of %d endpoints are not in memory", past, s.Len())
		}
		for i := range 300 {
			wantHost(t, s, events.Survey(fmt.Sprint("s", i)), "hooks.example.com:443")
			if _, err := s.Get(t.Context(), events.Survey(fmt.Sprint("s", i))); err != nil {
				t.Error(err)
			}
		}
		s.SetKeys(w.keys) // what was asked for is forgotten
		w.stop()
		synctest.Wait()
		unknown := 0
		for i := range 300 {
			_, _, err := s.Target(t.Context(), events.Survey(fmt.Sprint("s", i)))
			if err == nil {
				continue
			}
			wantError(t, err, config.ErrUnavailable)
			unknown++
		}
		if unknown != past {
			t.Errorf("without NATS %d endpoints are not known, want the %d that are not in memory", unknown, past)
		}
	})
}

func TestWatchersHearOfChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("before")
		s := w.open()
		seen := record(s)
		e := w.put("s1")
		within(t, time.Second, "told of s1", func() bool { return seen.of("s1").Revision == e.Revision })
		w.remove("s1")
		within(t, time.Second, "told of its removal", func() bool { return seen.of("s1").Removed })
		if c := seen.of("before"); c != (config.Change{}) {
			t.Errorf("told of what was there already: %+v", c)
		}
		seen.cancel()
		w.put("s2")
		within(t, time.Second, "s2 is there", func() bool { return s.Len() == 2 })
		if c := seen.of("s2"); c != (config.Change{}) {
			t.Errorf("told after cancel: %+v", c)
		}
	})
}

func TestAClosedStoreKnowsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.put("s1")
		s := w.open()
		s.Close()
		s.Close()
		_, _, err := s.Target(t.Context(), "s1")
		wantError(t, err, config.ErrUnavailable)
	})
}

func TestTwoWritersOfOneEndpointConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := config.NewEditor(w.kv, delivery.Rules{}), config.NewEditor(w.kv, delivery.Rules{})
		ctx := t.Context()
		first, err := a.Put(ctx, w.endpoint("s1"))
		check(t, err)
		_, err = b.Put(ctx, w.endpoint("s1"))
		wantError(t, err, config.ErrConflict)
		second, err := b.Put(ctx, first)
		check(t, err)
		_, err = a.Put(ctx, first)
		wantError(t, err, config.ErrConflict)
		wantError(t, a.Remove(ctx, "s1", first.Revision), config.ErrConflict)
		check(t, a.Remove(ctx, "s1", second.Revision))
		_, err = b.Get(ctx, "s1")
		wantError(t, err, config.ErrNoEndpoint)
		wantError(t, b.Remove(ctx, "s1", 0), config.ErrNoEndpoint)
		_, err = b.Put(ctx, second)
		wantError(t, err, config.ErrConflict)
		_, err = b.Put(ctx, w.endpoint("s1"))
		check(t, err)
	})
}

func TestTheEditorListsAndStops(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 600 { // more than the watch buffers
			_, err := w.kv.PutString(t.Context(), fmt.Sprint("s", i), `{"url":"https://a.example.com/","enabled":true}`)
			check(t, err)
		}
		_, err := w.kv.PutString(t.Context(), "bad", `{}`)
		check(t, err)
		w.remove("s3")
		ed := config.NewEditor(w.kv, delivery.Rules{})
		good, bad := 0, 0
		for e, err := range ed.List(t.Context()) {
			if err == nil {
				good++
			} else if bad++; e.Survey != "bad" || e.Revision == 0 {
				t.Errorf("%+v: %v", e, err)
			}
		}
		if good != 599 || bad != 1 {
			t.Errorf("%d good and %d bad endpoints, want 599 and 1", good, bad)
		}
		for _, err := range ed.List(t.Context()) {
			check(t, err)
			break // the watch must end with the loop
		}
		w.deleteBucket()
		for _, err := range ed.List(t.Context()) {
			wantError(t, err, config.ErrUnavailable)
		}
	})
}

func TestAnInvalidEndpointIsNotWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		e := w.endpoint("s1")
		e.URL = "http://a.example.com"
		_, err := config.NewEditor(w.kv, delivery.Rules{}).Put(t.Context(), e)
		wantError(t, err, config.ErrInvalidEndpoint)
		_, err = w.kv.Get(t.Context(), "s1")
		wantError(t, err, jetstream.ErrKeyNotFound)
	})
}

// recorder keeps the last change of each survey.
type recorder struct {
	mu     sync.Mutex // guards last
	last   map[events.Survey]config.Change
	cancel func()
}

func record(s *config.Store) *recorder {
	r := &recorder{last: map[events.Survey]config.Change{}}
	r.cancel = s.Watch(func(c config.Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last[c.Survey] = c
	})
	return r
}

func (r *recorder) of(s events.Survey) config.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[s]
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

// wantNoSecret checks that a text shows neither the secret nor what it decodes
// to.
func wantNoSecret(t *testing.T, text string) {
	t.Helper()
	leaktest.Plant(t, plainSecret, plainSecret[6:20]).In(t, "it", []byte(text))
}
