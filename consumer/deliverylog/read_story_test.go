package deliverylog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

func TestReadingASurveyReadsItsShardAlone(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		for i := range 200 {
			l.Attempt(uint64(i+1), delivered(fmt.Sprint("s", i), "r"))
		}
		must(t, l.Flush(t.Context()))
		f := Filter{Survey: "s7"}
		for msg, err := range walk.Stream(t.Context(), w.js, w.names.Attempts(), f.walk(w.names, false)) {
			must(t, err)
			if msg.Header.Get(headerSequences) == "" {
				t.Errorf("message %d says nothing of what it holds", msg.Sequence)
			}
			text, err := unpack(msg)
			must(t, err)
			first, _, _ := bytes.Cut(text, []byte("\n"))
			r, err := decodeRecord(first)
			must(t, err)
			if w.names.Shard(r.Survey) != w.names.Shard("s7") {
				t.Errorf("survey %s of shard %d was read", r.Survey, w.names.Shard(r.Survey))
			}
		}
		if got := w.read(f); len(got) != 1 || got[0].Source() != 8 {
			t.Errorf("read %+v", got)
		}
	})
}

func TestReadWhatOneReplayAttempted(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		l.Attempt(1, delivered("s", "replay-1")) // an event's id may be anything
		l.Attempt(2, failed("s", "r"))
		l.Settled(KindNoWebhook, "t", 3)
		must(t, l.Flush(t.Context()))
		if got := w.read(Filter{Replay: "replay-1"}); len(got) != 1 || got[0].Source() != 2 {
			t.Errorf("read %+v", got)
		}
		if got := w.read(Filter{Replay: "replay-2"}); len(got) != 0 {
			t.Errorf("read %+v of a replay that was not", got)
		}
	})
}

func TestReadByTime(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		begin := time.Now()
		for i := range 10 {
			l.Attempt(uint64(i+1), delivered("s", "r"))
			must(t, l.Flush(t.Context()))
			time.Sleep(time.Hour)
		}
		got := w.read(Filter{Since: begin.Add(3 * time.Hour), Until: begin.Add(6 * time.Hour)})
		if len(got) != 3 || got[0].Source() != 4 || got[2].Source() != 6 {
			t.Errorf("read %+v", got)
		}
	})
}

func TestReadOfAnEmptyLog(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		if got := w.read(Filter{}); len(got) != 0 {
			t.Errorf("read %+v", got)
		}
		must(t, w.js.DeleteStream(t.Context(), w.names.Attempts()))
		var last error
		for _, err := range Read(t.Context(), w.js, w.names, Filter{}) {
			last = err
		}
		if last == nil {
			t.Error("a log that is missing was read")
		}
	})
}

func TestReadGoesOnWhereItWasCut(t *testing.T) {
	for name, lose := range map[string]bustest.Part{"request lost": bustest.TheWrite, "answer lost": bustest.TheAnswer} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				l := New(w.js, w.names, Options{})
				for i := range 100 {
					l.Attempt(uint64(i+1), delivered("s", "r"))
					must(t, l.Flush(t.Context()))
				}
				var got []uint64
				for r, err := range Read(t.Context(), w.js, w.names, Filter{}) {
					must(t, err)
					got = append(got, r.Source())
					if len(got) == 20 {
						w.wire.Cut(lose, "CONSUMER.MSG.NEXT")
					}
				}
				if w.wire.Armed() {
					t.Fatal("the wire was not cut where it should have been")
				}
				if len(got) != 100 || got[0] != 1 || got[99] != 100 {
					t.Errorf("read %v", got)
				}
			})
		})
	}
}

func TestReadLeftEarlyLeavesNothingBehind(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		for i := range 50 {
			l.Attempt(uint64(i+1), delivered("s", "r"))
			must(t, l.Flush(t.Context()))
		}
		for _, err := range Read(t.Context(), w.js, w.names, Filter{}) {
			must(t, err)
			break
		}
		time.Sleep(2 * time.Second)
		s, err := w.js.Stream(t.Context(), w.names.Attempts())
		must(t, err)
		if n := s.CachedInfo().State.Consumers; n != 0 {
			t.Errorf("%d readers are left on the server", n)
		}
	})
}

func TestFollowGoesOnOverARestartUntilItIsTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		stop := w.run(l)
		l.Attempt(1, delivered("s", "before"))
		time.Sleep(time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		var got []uint64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for r, err := range Follow(ctx, w.js, w.names, Filter{}) {
				if err != nil {
					t.Errorf("Follow says %v", err)
				}
				got = append(got, r.Source())
			}
		}()
		time.Sleep(time.Second)
		for i := uint64(2); i < 50; i++ {
			l.Attempt(i, delivered("s", "r"))
			switch i {
			case 10:
				w.server.Halt()
			case 20:
				w.server.Boot()
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		<-done
		stop()
		if len(got) != 48 || got[0] != 2 || got[47] != 49 {
			t.Errorf("followed %v", got)
		}
	})
}

func TestFollowSince(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		begin := time.Now()
		for i := range 5 {
			l.Attempt(uint64(i+1), delivered("s", "r"))
			must(t, l.Flush(t.Context()))
			time.Sleep(time.Hour)
		}
		n := 0
		for r, err := range Follow(t.Context(), w.js, w.names, Filter{Since: begin.Add(2 * time.Hour), Limit: 3}) {
			must(t, err)
			if n++; r.Source() != uint64(2+n) {
				t.Errorf("record %d is of sequence %d", n, r.Source())
			}
		}
		if n != 3 {
			t.Errorf("followed %d records", n)
		}
	})
}

func TestFollowEndsAtOnceWhenItIsTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		for _, away := range []bool{false, true} {
			if away {
				w.server.Halt()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			begun := time.Now()
			for _, err := range Follow(ctx, w.js, w.names, Filter{}) {
				t.Errorf("Follow says %v", err)
			}
			if took := time.Since(begun); took > 11*time.Second {
				t.Errorf("away %v: it took %s to end", away, took)
			}
			cancel()
		}
		w.server.Boot()
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		l.Attempt(1, delivered("s", "r"))
		must(t, l.Flush(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range Read(ctx, w.js, w.names, Filter{Survey: events.Survey("s")}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Read says %v", err)
			}
		}
	})
}
