package lanes

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

// emptied empties a stream as soon as the server has counted what a reader is to read.
type emptied struct{ jetstream.JetStream }

func (e emptied) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := e.JetStream.Stream(ctx, name)
	return emptiedStream{s}, err
}

type emptiedStream struct{ jetstream.Stream }

func (e emptiedStream) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := e.Stream.CreateConsumer(ctx, cfg)
	if err == nil {
		err = e.Purge(ctx)
	}
	return c, err
}

// TestAllHasComeAlsoWhenWhatWasCountedIsRemovedBeforeItIsSent: else nothing is brought
// into the lanes of those shards, and no lane of theirs ends.
func TestAllHasComeAlsoWhenWhatWasCountedIsRemovedBeforeItIsSent(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		must(t, Park(t.Context(), js, events.Names{}, Waiting{Survey: "s1", EventID: "r1", Source: 7, Parked: time.Now(), Published: time.Now(), Body: []byte("{}")}))
		o := New(emptied{js}, nil, Options{})
		s := newShard(t.Context(), o, &leases.Lease{Shard: o.o.Names.Shard("s1")})
		f := o.join(s)
		select {
		case got := <-s.fed:
			if !got.caughtUp {
				t.Errorf("got %+v, want that all has come", got)
			}
		case <-time.After(time.Minute):
			t.Error("in a minute nobody has said that all has come")
		}
		f.leave(s)
	})
}

// watched is a lanes stream whose readers' pulls are counted, and one of which is to lose
// what it brings.
type watched struct {
	jetstream.JetStream
	pulls atomic.Int64
	lose  atomic.Bool
}

func (w *watched) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := w.JetStream.Stream(ctx, name)
	return watchedStream{s, w}, err
}

type watchedStream struct {
	jetstream.Stream
	w *watched
}

func (s watchedStream) CreateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := s.Stream.CreateConsumer(ctx, cfg)
	return watchedConsumer{c, s.w}, err
}

type watchedConsumer struct {
	jetstream.Consumer
	w *watched
}

func (c watchedConsumer) Fetch(n int, opts ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	c.w.pulls.Add(1)
	batch, err := c.Consumer.Fetch(n, opts...)
	if err != nil {
		return nil, err
	}
	come := make(chan jetstream.Msg, n)
	go func() {
		defer close(come)
		lost := false
		for msg := range batch.Messages() {
			if lost = lost || c.w.lose.Swap(false); !lost {
				come <- msg
			}
		}
	}()
	return watchedBatch{batch, come}, nil
}

type watchedBatch struct {
	jetstream.MessageBatch
	come chan jetstream.Msg
}

func (b watchedBatch) Messages() <-chan jetstream.Msg { return b.come }

// feeding has one shard fed, and returns how to hear of so many entries in it, in the
// order of their sequences.
func feeding(t *testing.T, js jetstream.JetStream) (next func(n int) []uint64) {
	t.Helper()
	o := New(js, nil, Options{Schedule: func(time.Time, string, time.Time) (time.Time, bool) { return time.Time{}, false }})
	s := newShard(t.Context(), o, &leases.Lease{Shard: o.o.Names.Shard("s1")})
	f := o.join(s)
	t.Cleanup(func() { f.leave(s) })
	return func(n int) (seqs []uint64) {
		t.Helper()
		for end := time.After(time.Minute); len(seqs) < n; {
			select {
			case got := <-s.fed:
				if !got.caughtUp && !slices.Contains(seqs, got.entry.seq) {
					seqs = append(seqs, got.entry.seq)
				}
			case <-end:
				t.Fatalf("in a minute %v were read, want %d", seqs, n)
			}
		}
		slices.Sort(seqs)
		return seqs
	}
}

// TestWhatComesTogetherIsReadTogether, and what comes alone at once.
func TestWhatComesTogetherIsReadTogether(t *testing.T) {
	bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
		w := &watched{JetStream: js}
		next := feeding(t, w)
		time.Sleep(time.Second)
		began := time.Now()
		parkThem(t, js, "s1", 1, 1)
		next(1)
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("one by itself was read after %s", took)
		}
		w.pulls.Store(0)
		for i := range 100 {
			time.Sleep(feedRest / 10)
			parkThem(t, js, "s1", uint64(2+i), 1)
		}
		next(100)
		if n := w.pulls.Load(); n > 40 {
			t.Errorf("%d pulls for what came in ten rests, want two or three for each", n)
		}
	})
}

// TestWhatWasSentAndDidNotComeIsReadAnew: nobody else tells that something waits.
func TestWhatWasSentAndDidNotComeIsReadAnew(t *testing.T) {
	for name, c := range map[string]struct {
		resting bool // the feed does, and will pull many
		park    int
	}{
		"the last one":       {park: 1},
		"one before others":  {park: 3},
		"the last of others": {resting: true, park: 1},
		"many at once":       {resting: true, park: 20},
	} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
				w := &watched{JetStream: js}
				next := feeding(t, w)
				parkThem(t, js, "s1", 1, 3)
				next(3)
				if time.Sleep(time.Second); c.resting {
					parkThem(t, js, "s1", 4, 1)
					next(1)
				}
				w.lose.Store(true)
				parkThem(t, js, "s1", 5, c.park)
				time.Sleep(feedRest + 2*time.Second)
				if n := copies(t, js); len(next(int(n))) != int(n) { //nolint:gosec // a few
					t.Error("not all were read")
				}
			})
		})
	}
}
