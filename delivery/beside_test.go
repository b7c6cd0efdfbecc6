package delivery

import (
	"context"
	"crypto/x509"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// What holds for the endpoint beside a hostile one, and for the process.
//
// One attempt waits for no other. What it may lose is the CPU that the hostile ones cost us, for eight of them begin,
// and are read, while it is made: its time may double, with room for half a millisecond, and in one of a hundred for the
// few milliseconds that the machine takes to come back to it. One that waited for a hostile attempt to end would lose up
// to 5 s.
//
// The live heap may hold, for each attempt in hand, 64 KiB of headers, as much of the body, and as much again of what
// TLS and HTTP/2 keep of a connection.
const (
	inHand           = 8 // attempts at once that an endpoint which fails is given at most
	besideTimes      = 2
	besideMedian     = slowed * 500 * time.Microsecond
	besideP99        = slowed * 5 * time.Millisecond
	memoryPerAttempt = 3 * 64 << 10
)

// One machine is never quiet, so windows without and with the hostile receiver take turns, and what does not hold at
// once must hold over more of them: a bound that is really broken is so in every window.
const (
	besideRounds, besideMostRounds = 3, 15
	besideRequests                 = 40 // in one window
)

// While each hostile receiver there is has as many attempts under way as it would get, on real sockets, a healthy
// endpoint keeps its latency and the process its memory. The hostile ones are in another process, as they are in life.
func TestAHealthyEndpointBesideEachHostileOne(t *testing.T) {
	apart := hostiletest.StartApart(t, hostileHost)
	trusted := x509.NewCertPool()
	trusted.AddCert(apart.Authority)
	client := hostileClient(t, trusted)
	good := receiver(t, "127.0.0.1:0", func(http.ResponseWriter, *http.Request) {})
	healthy := mustTarget(t, TargetSpec{URL: "http://" + good.String()})
	for i, v := range hostiletest.Every(t, hostiletest.NewAuthority(t), hostileHost) {
		hostile := mustTarget(t, TargetSpec{URL: apart.URLs[i]})
		t.Run(v.Name, func(t *testing.T) {
			var quiet, beside latency
			var grown uint64
			for round := 1; round <= besideMostRounds; round++ {
				quiet.measure(t, client, healthy)
				before := liveHeap()
				stop := besiege(t, client, hostile, v)
				beside.measure(t, client, healthy)
				grown = max(grown, max(liveHeap(), before)-before)
				stop()
				if round >= besideRounds && beside.within(&quiet) {
					break
				}
			}
			t.Logf("p50 %s quiet, %s beside; p99 %s and %s; live heap +%d KiB; %d rounds", quiet.p50(), beside.p50(), quiet.p99(), beside.p99(), grown>>10, len(quiet.medians))
			if !beside.within(&quiet) {
				t.Errorf("the healthy endpoint's p50 and p99 are %s and %s beside it, %s and %s without", beside.p50(), beside.p99(), quiet.p50(), quiet.p99())
			}
			if grown > inHand*memoryPerAttempt {
				t.Errorf("the live heap grew by %d KiB for %d attempts", grown>>10, inHand)
			}
		})
	}
}

// latency is how long a healthy endpoint's attempts took, in windows.
type latency struct {
	medians []time.Duration // of each window
	all     []time.Duration
}

// measure adds a window, of attempts which must all be delivered.
func (l *latency) measure(t *testing.T, client *Client, target *Target) {
	t.Helper()
	took := make([]time.Duration, besideRequests)
	for i := range took {
		a := client.Send(t.Context(), target, testEvent(), Meta{})
		wantEnd(t, a, Delivered, Reason2xx)
		took[i] = a.Took
	}
	slices.Sort(took)
	l.medians = append(l.medians, took[len(took)/2])
	l.all = append(l.all, took...)
	slices.Sort(l.medians)
	slices.Sort(l.all)
}

func (l *latency) p50() time.Duration { return l.medians[len(l.medians)/2] }
func (l *latency) p99() time.Duration { return l.all[len(l.all)*99/100] }

func (l *latency) within(quiet *latency) bool {
	return l.p50() <= besideTimes*quiet.p50()+besideMedian && l.p99() <= besideTimes*quiet.p99()+besideP99
}

// besiege keeps attempts at a hostile receiver in hand until it is told to stop. One that has ended, as it must, is
// followed by another a little later, more often than an endpoint that fails would ever see.
func besiege(t *testing.T, client *Client, target *Target, v hostiletest.Receiver) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var attempts sync.WaitGroup
	for range inHand {
		attempts.Go(func() {
			for {
				a := client.Send(ctx, target, testEvent(), Meta{})
				if ctx.Err() != nil {
					return
				}
				if a.Reason != ReasonReset || !a.Phases.Reused { // some close what they let us keep
					wantEndOf(t, a, v)
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return func() {
		cancel()
		attempts.Wait()
	}
}

// liveHeap is what a collection has left, the least of three: whatever is allocated while one marks, however soon it is
// let go, counts as alive.
func liveHeap() uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}
