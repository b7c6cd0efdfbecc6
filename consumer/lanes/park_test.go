package lanes

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/events"
)

// TestFewAreStoredByThemselvesAndManyTogether: a batch costs the server as much as fifty
// events.
func TestFewAreStoredByThemselvesAndManyTogether(t *testing.T) {
	for name, c := range map[string]struct {
		park    int
		batched uint64
		took    time.Duration
	}{
		"one":                             {park: 1, took: momentTime},
		"some within a moment":            {park: joinLeast - 1, took: momentTime},
		"many within a moment":            {park: joinLeast, batched: joinLeast, took: gatherTime},
		"a batch is full at once":         {park: batchMost, batched: batchMost},
		"more than a batch, one is alone": {park: batchMost + 1, batched: batchMost, took: momentTime},
	} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
				p := NewParker(js, events.Names{}, nil)
				go p.Run(t.Context())
				if took := parkAtOnce(t, p, 1, c.park); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if stored, batched := copies(t, js), batched(t, js); stored != uint64(c.park) || batched != c.batched { //nolint:gosec // small and positive
					t.Errorf("%d are stored, %d of them together; want %d and %d", stored, batched, c.park, c.batched)
				}
			})
		})
	}
}

// TestWhatTheServerDoesNotKeepUpWithIsStoredTogether: nobody says whether the server syncs
// each write, but it shows.
func TestWhatTheServerDoesNotKeepUpWithIsStoredTogether(t *testing.T) {
	const at = joinLeast - 1
	for name, c := range map[string]struct {
		write   time.Duration // takes so long
		more    int
		batched uint64
	}{
		"it keeps up":                  {write: 100 * time.Microsecond, more: at},
		"it syncs each":                {write: 5 * time.Millisecond, more: at, batched: at},
		"too few are left for a batch": {write: 50 * time.Millisecond, more: batchLeast - 1},
		"they are just enough for one": {write: 50 * time.Millisecond, more: batchLeast, batched: batchLeast},
	} {
		t.Run(name, func(t *testing.T) {
			bus(t, func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
				p := NewParker(&syncing{JetStream: js, write: c.write, turn: make(chan struct{}, 1)}, events.Names{}, nil)
				go p.Run(t.Context())
				var first sync.WaitGroup
				first.Go(func() { parkAtOnce(t, p, 1, at) })
				time.Sleep(2 * momentTime)
				parkAtOnce(t, p, 1+at, c.more)
				first.Wait()
				if stored, batched := copies(t, js), batched(t, js); stored != uint64(at+c.more) || batched != c.batched { //nolint:gosec // small and positive
					t.Errorf("%d are stored, %d of them together; want %d and %d", stored, batched, at+c.more, c.batched)
				}
			})
		})
	}
}

// syncing is a server that takes a while for each write, one after the other.
type syncing struct {
	jetstream.JetStream
	write time.Duration
	turn  chan struct{} // of one: a mutex would stop the bubble's clock
}

func (s *syncing) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	time.Sleep(s.write)
	return s.JetStream.PublishMsg(ctx, msg, opts...)
}

// parkAtOnce parks so many events and says how long it took.
func parkAtOnce(t *testing.T, p *Parker, first uint64, n int) time.Duration {
	t.Helper()
	began := time.Now()
	var parking sync.WaitGroup
	for i := range n {
		parking.Go(func() {
			if err := p.Park(t.Context(), waiting("s1", first+uint64(i))); err != nil {
				t.Error(err)
			}
		})
	}
	parking.Wait()
	return time.Since(began)
}

// batched is how many copies came into the lanes stream in a batch.
func batched(t *testing.T, js jetstream.JetStream) (n uint64) {
	t.Helper()
	s, err := js.Stream(t.Context(), events.Names{}.Lanes())
	must(t, err)
	for seq := range copies(t, js) {
		m, err := s.GetMsg(t.Context(), seq+1)
		must(t, err)
		if m.Header.Get("Nats-Batch-Id") != "" {
			n++
		}
	}
	return n
}
