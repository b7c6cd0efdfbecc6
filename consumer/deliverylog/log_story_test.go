package deliverylog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

func TestWhatIsToldIsWrittenWithinAQuarterOfASecond(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{Replica: "replica-a"})
		defer w.run(l)()
		good, bad := delivered("s1", "r-1"), failed("s2", "r-2")
		l.Attempt(7, good)
		l.Attempt(9, bad)
		l.Settled(KindNoWebhook, "s3", 8)
		synctest.Wait()
		if n := w.messages(); n != 0 {
			t.Errorf("%d messages at once", n)
		}
		time.Sleep(writeEvery + 10*time.Millisecond)
		synctest.Wait()
		want := map[events.Survey]Record{"s1": recordOf(7, good), "s2": recordOf(9, bad), "s3": {Kind: KindNoWebhook, Survey: "s3", At: good.Started, Runs: []Run{{8, 8}}}}
		for survey, r := range want {
			r.Replica = "replica-a"
			if d := cmp.Diff([]Record{r}, w.read(Filter{Survey: survey})); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		}
		if n := len(w.read(Filter{})); n != 3 {
			t.Errorf("%d records, want 3", n)
		}
	})
}

func TestMessagesSayWhatTheyHold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{Replica: "replica-a"})
		first, last := delivered("s", "r-1"), delivered("s", "r-2")
		last.Started = last.Started.Add(time.Second)
		l.Attempt(9, last)
		l.Attempt(7, first)
		must(t, l.Flush(t.Context()))
		s, err := w.js.Stream(t.Context(), w.names.Attempts())
		must(t, err)
		m, err := s.GetMsg(t.Context(), 1)
		must(t, err)
		for key, want := range map[string]string{
			"Popsee-Format": "1", "Popsee-Encoding": "s2", "Popsee-Replica": "replica-a", "Popsee-Sequences": "7-9",
			"Popsee-Times": first.Started.Format(time.RFC3339Nano) + "/" + last.Started.Format(time.RFC3339Nano), "Nats-Msg-Id": "",
		} {
			if got := m.Header.Get(key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if want := w.names.AttemptsSubject(w.names.Shard("s")); m.Subject != want {
			t.Errorf("subject %s, want %s", m.Subject, want)
		}
	})
}

func TestManyRecordsAMessage(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		const n = 5000
		for i := range n {
			l.Attempt(uint64(i+1), delivered("s", fmt.Sprint("r-", i)))
		}
		must(t, l.Flush(t.Context()))
		if m := w.messages(); m > 40 {
			t.Errorf("%d records became %d messages", n, m)
		}
		if got := len(w.read(Filter{Survey: "s"})); got != n {
			t.Errorf("%d records, want %d", got, n)
		}
		if got := w.read(Filter{Source: Run{4711, 4711}}); len(got) != 1 || got[0].EventID != "r-4710" {
			t.Errorf("sequence 4711 is %+v", got)
		}
		if got := w.read(Filter{EventID: "r-17"}); len(got) != 1 || got[0].Source() != 18 {
			t.Errorf("event r-17 is %+v", got)
		}
		if got := len(w.read(Filter{Limit: 3})); got != 3 {
			t.Errorf("a limit of 3 gives %d", got)
		}
	})
}

func TestAFullChunkIsWrittenAtOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		defer w.run(l)()
		synctest.Wait()
		for i := range 1000 {
			l.Attempt(uint64(i+1), delivered("s", "r"))
		}
		synctest.Wait()
		if n := w.messages(); n == 0 {
			t.Error("nothing was written before the quarter of a second was over")
		}
	})
}

func TestSettledSequencesBecomeRuns(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		seqs := rand.New(rand.NewPCG(1, 2)).Perm(10_000)
		var wg sync.WaitGroup
		for part := range 4 {
			wg.Go(func() {
				for _, seq := range seqs[part*2500 : (part+1)*2500] {
					l.Settled(KindNoWebhook, "s", uint64(seq+1))
				}
			})
		}
		wg.Wait()
		for seq := uint64(20_000); seq < 24_000; seq += 2 {
			l.Settled(KindOwed, "s", seq) // none follows another
		}
		must(t, l.Flush(t.Context()))
		if got := w.read(Filter{Kinds: []Kind{KindNoWebhook}}); len(got) != 1 || !cmp.Equal(got[0].Runs, []Run{{1, 10_000}}) {
			t.Errorf("settled without a webhook: %+v", got)
		}
		owed, events := w.read(Filter{Kinds: []Kind{KindOwed}}), 0
		for _, r := range owed {
			events += len(r.Runs)
		}
		if len(owed) != 2 || events != 2000 {
			t.Errorf("%d events owed in %d records, want 2000 in 2", events, len(owed))
		}
	})
}

func TestARestartOfTheBusLosesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		defer w.run(l)()
		time.Sleep(50 * time.Millisecond) // so that nothing is on its way when the bus goes
		for i := range 100 {
			switch i {
			case 30:
				w.server.Halt()
			case 60:
				w.server.Boot()
			}
			l.Attempt(uint64(i+1), delivered("s", "r"))
			l.Settled(KindParked, "t", uint64(i+1))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if lost := l.Dropped(); lost != (Loss{}) {
			t.Errorf("dropped %+v", lost)
		}
		w.wantAttempts(1, 100)
		parked := uint64(0)
		for _, r := range w.read(Filter{Survey: "t"}) {
			for _, run := range r.Runs {
				parked += run.Len()
			}
		}
		if parked != 100 {
			t.Errorf("%d events parked, want 100", parked)
		}
	})
}

func TestWhatDoesNotFitIsDroppedCountedAndTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var said bytes.Buffer
		reg := prometheus.NewRegistry()
		l := New(w.js, w.names, Options{MaxBuffered: 10_000, Log: zerolog.New(&said), Metrics: reg})
		stop := w.run(l)
		w.server.Halt()
		synctest.Wait()
		begun := time.Now()
		for i := range 1000 {
			l.Attempt(uint64(i+1), delivered("s", "r"))
		}
		l.Settled(KindOwed, "s", 1001)
		if took := time.Since(begun); took != 0 {
			t.Errorf("telling the log took %s while the bus was away", took)
		}
		lost := l.Dropped()
		if lost.Records < 900 || lost.Run.To != 1001 || lost.Run.From != 1001-lost.Records+1 {
			t.Errorf("dropped %+v", lost)
		}
		if room := l.buffered.Load(); room > 11_000 {
			t.Errorf("%d bytes are held", room)
		}
		time.Sleep(10 * time.Minute)
		w.server.Boot()
		time.Sleep(2 * time.Second)
		stop()
		w.wantAttempts(1, lost.Run.From-1)
		dropped := w.read(Filter{Kinds: []Kind{KindDropped}})
		if len(dropped) != 1 || dropped[0].Records != lost.Records || !cmp.Equal(dropped[0].Runs, []Run{lost.Run}) || !dropped[0].At.Equal(begun) {
			t.Errorf("dropped records %+v, want one of %+v", dropped, lost)
		}
		if l.Dropped() != lost {
			t.Errorf("dropped %+v after the bus was back, %+v before", l.Dropped(), lost)
		}
		if got := counted(t, reg); got["webhooks_delivery_log_dropped_total"] != float64(lost.Records) || got["webhooks_delivery_log_written_total"] != float64(1001-lost.Records) {
			t.Errorf("counted %v", got)
		}
	})
}

func TestWhatIsNotConfirmedIsDroppedAndTold(t *testing.T) {
	for name, c := range map[string]struct {
		cut  bustest.Part
		kept int // how many records are there in the end, the last one included
	}{
		"the write is lost":  {bustest.TheWrite, 1},
		"the answer is lost": {bustest.TheAnswer, 5},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				var said bytes.Buffer
				l := New(w.js, w.names, Options{Log: zerolog.New(&said)})
				stop := w.run(l)
				for round := range uint64(2) {
					w.wire.Cut(c.cut, "webhooks.attempts.")
					l.Attempt(round*10+1, delivered("s", "r"))
					l.Settled(KindDead, "s", round*10+2)
					time.Sleep(20*time.Second + writeEvery/2) // between two writes: one would part the two records
				}
				l.Attempt(30, delivered("s", "r"))
				time.Sleep(time.Second)
				stop()
				if w.wire.Armed() {
					t.Fatal("the wire was not cut where it should have been")
				}
				if lost := l.Dropped(); lost.Records != 4 || lost.Run != (Run{1, 12}) {
					t.Errorf("dropped %+v", lost)
				}
				told := uint64(0)
				for _, r := range w.read(Filter{Kinds: []Kind{KindDropped}}) {
					told += r.Records
				}
				if told != 4 {
					t.Errorf("%d records are told of as dropped, want 4", told)
				}
				if got := len(w.read(Filter{Kinds: []Kind{KindAttempt, KindDead}})); got != c.kept {
					t.Errorf("%d records, want %d", got, c.kept)
				}
				if n := strings.Count(said.String(), "cannot be written"); n != 2 {
					t.Errorf("the outages were told of %d times:\n%s", n, said.String())
				}
				if n := strings.Count(said.String(), "written again"); n != 2 {
					t.Errorf("their ends were told of %d times:\n%s", n, said.String())
				}
			})
		})
	}
}

func TestWhatCertainlyWasNotStoredWaits(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		must(t, w.js.DeleteStream(t.Context(), w.names.Attempts()))
		l := New(w.js, w.names, Options{})
		defer w.run(l)()
		for i := range 20 {
			l.Attempt(uint64(i+1), delivered(fmt.Sprint("s", i), "r"))
			time.Sleep(time.Second)
		}
		w.provision()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		w.wantAttempts(1, 20)
		if lost := l.Dropped(); lost != (Loss{}) {
			t.Errorf("dropped %+v", lost)
		}
	})
}

func TestAnOutageDoesNotFloodTheLogNorTheBus(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var said bytes.Buffer
		must(t, w.js.DeleteStream(t.Context(), w.names.Attempts()))
		l := New(w.js, w.names, Options{Log: zerolog.New(&said), MaxBuffered: 50_000})
		stop := w.run(l)
		before := w.nc.Stats().OutMsgs
		for i := range 600 {
			for s := range 64 {
				l.Attempt(uint64(i+1), delivered(fmt.Sprint("s", s), "r"))
			}
			time.Sleep(100 * time.Millisecond)
		}
		stop()
		if n := strings.Count(said.String(), "\n"); n != 1 {
			t.Errorf("a minute of outage made %d lines:\n%s", n, said.String())
		}
		if sent := w.nc.Stats().OutMsgs - before; sent > 60*writers*3 {
			t.Errorf("a minute of outage sent %d messages", sent)
		}
	})
}

func TestFlushIsBounded(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		for s := range 64 {
			l.Attempt(1, delivered(fmt.Sprint("s", s), "r"))
		}
		w.server.Halt()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		if err := l.Flush(ctx); err == nil || !strings.Contains(err.Error(), "64 records lost") {
			t.Errorf("Flush says %v", err)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("Flush took %s", took)
		}
		must(t, New(w.js, w.names, Options{}).Flush(ctx)) // nothing to do
		w.server.Boot()
	})
}

func TestFlushIsBoundedWhileAnotherWriteGoesOn(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		stop := w.run(l)
		l.Attempt(1, delivered("s", "r"))
		w.wire.Hold()
		time.Sleep(2 * writeEvery) // a write is under way, and waits for its answer
		l.Attempt(2, delivered("s", "r"))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush gives %v, want that its time was over", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Flush took %s, want the second it was given", took)
		}
		w.wire.Release()
		stop()
		must(t, l.Flush(t.Context()))
		if got := w.read(Filter{}); len(got) != 2 {
			t.Errorf("%d records are there, want both", len(got))
		}
	})
}

func TestWhatWaitedTooLongIsDropped(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		defer w.run(l)()
		w.server.Halt()
		l.Attempt(1, delivered("s", "old"))
		time.Sleep(linger + time.Minute)
		l.Attempt(2, delivered("t", "new"))
		w.server.Boot()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := w.read(Filter{Kinds: []Kind{KindAttempt}}); len(got) != 1 || got[0].EventID != "new" {
			t.Errorf("read %+v", got)
		}
		if lost := l.Dropped(); lost.Records != 1 {
			t.Errorf("dropped %+v", lost)
		}
		if got := w.read(Filter{Survey: "s"}); len(got) != 1 || got[0].Kind != KindDropped {
			t.Errorf("read %+v", got)
		}
	})
}

func TestStress(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	l := New(w.js, w.names, Options{})
	const writers, each = 8, 2000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 { // stopped and started while it is told things
			stop := w.run(l)
			_ = l.Flush(context.Background())
			stop()
		}
	}()
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			for i := range each {
				seq := uint64(g*each + i + 1)
				l.Attempt(seq, delivered(fmt.Sprint("s", seq%100), "r"))
				l.Settled(KindParked, events.Survey(fmt.Sprint("s", seq%100)), seq)
			}
		})
	}
	wg.Wait()
	<-done
	must(t, l.Flush(t.Context()))
	if lost := l.Dropped(); lost.Records != 0 {
		t.Errorf("dropped %+v", lost)
	}
	w.wantAttempts(1, writers*each)
	if left := l.buffered.Load(); left != 0 {
		t.Errorf("%d bytes are accounted for in an empty log", left)
	}
}

// wantAttempts checks that each sequence of a range was attempted once.
func (w *world) wantAttempts(from, to uint64) {
	w.t.Helper()
	seen := map[uint64]int{}
	for _, r := range w.read(Filter{Kinds: []Kind{KindAttempt}}) {
		seen[r.Source()]++
	}
	for seq := from; seq <= to; seq++ {
		if seen[seq] != 1 {
			w.t.Errorf("sequence %d stands in the log %d times", seq, seen[seq])
		}
	}
	if len(seen) != int(to-from+1) {
		w.t.Errorf("%d sequences stand in the log, want %d", len(seen), to-from+1)
	}
}

// counted gives every counter.
func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	all := map[string]float64{}
	for _, f := range families {
		if c := f.GetMetric()[0].GetCounter(); c != nil {
			all[f.GetName()] = c.GetValue()
		}
	}
	return all
}

func TestOtherFormatsArePassedOverAndSaidSo(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		l := New(w.js, w.names, Options{})
		l.Attempt(1, delivered("s", "r-1"))
		must(t, l.Flush(t.Context()))
		subject := w.names.AttemptsSubject(w.names.Shard("s"))
		bomb := append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, "x"...) // says that it unpacks to 4 GiB
		for _, m := range []*nats.Msg{
			{Header: nats.Header{"Popsee-Format": {"2"}}, Data: []byte("future")},
			{Data: []byte("something")},
			{Header: nats.Header{"Popsee-Format": {"1"}}, Data: []byte("{}\n")},
			{Header: nats.Header{"Popsee-Format": {"1"}, "Popsee-Encoding": {"s2"}}, Data: bomb},
			{Header: nats.Header{"Popsee-Format": {"1"}, "Popsee-Encoding": {"zip"}}, Data: []byte("x")},
		} {
			m.Subject = subject
			_, err := w.js.PublishMsg(t.Context(), m)
			must(t, err)
		}
		l.Attempt(2, delivered("s", "r-2"))
		must(t, l.Flush(t.Context()))
		var got []string
		for r, err := range Read(t.Context(), w.js, w.names, Filter{}) {
			switch {
			case errors.As(err, new(*Unreadable)):
				got = append(got, "unreadable")
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, r.EventID)
			}
		}
		if len(got) != 7 || got[0] != "r-1" || got[6] != "r-2" {
			t.Errorf("read %q", got)
		}
	})
}
