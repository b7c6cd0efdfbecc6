package audit

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// TestAnAuditHoldsTwoBytesForEachEvent audits many events of which nothing is known,
// many that were delivered, and losses that the log has counted: what is still held
// when it ends does not grow with what was read.
func TestAnAuditHoldsTwoBytesForEachEvent(t *testing.T) {
	const count = 10_000
	synctest.Test(t, func(t *testing.T) {
		s := bustest.New(t, server.Options{})
		defer s.Halt()
		nc := s.Connect()
		defer nc.Close()
		js := bustest.JetStream(t, nc)
		names := layout.Layout{}.Names
		provisioned(t, js)
		fill(t, js, names, count)
		held := int64(math.MaxInt64)
		for range 3 { // what the server keeps for later comes and goes between two looks
			held = min(held, heldByAnAudit(t, js, names, count))
		}
		// The rest are a thousand runs and a hundred stretches, whatever the range.
		if most := int64(2*count + 64<<10); held > most {
			t.Errorf("an audit of %d events holds %d bytes, want %d at most", count, held, most)
		}
	})
}

func heldByAnAudit(t *testing.T, js jetstream.JetStream, names events.Names, count int) int64 {
	t.Helper()
	a := &auditor{js: js, names: names, progress: func(string, int64, int64) {}}
	r, err := a.run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if half := int64(count / 2); int64(r.Counts[Delivered]) != half || int64(r.Counts[Unproven]) != half || len(r.Runs[Unproven]) != maxRuns { //nolint:gosec // far from what an int64 holds
		t.Errorf("the audit counts %v, in %d runs", r.Counts, len(r.Runs[Unproven]))
	}
	held := inUse()
	runtime.KeepAlive(a)
	runtime.KeepAlive(r)
	return held - inUse() // here nobody needs either any more
}

func provisioned(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if _, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
}

// fill publishes events, has the log tell of every second one, and lets all of them
// count as settled.
func fill(t *testing.T, js jetstream.JetStream, names events.Names, count int) {
	t.Helper()
	log := deliverylog.New(js, names, deliverylog.Options{MaxBuffered: 1 << 30})
	for i := range count {
		survey := events.Survey(fmt.Sprint("survey-", i))
		body := fmt.Appendf(nil, `{"event":"response.completed","survey":{"id":%q},"response":{"id":"r-%d"},"text":%q}`, survey, i, strings.Repeat("x", 500))
		if _, err := js.PublishAsync(names.Subject(survey), body); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			log.Attempt(uint64(i)+1, delivery.Attempt{Survey: survey, EventID: fmt.Sprint("r-", i), Started: time.Now(), Status: 200, Verdict: delivery.Delivered}) //nolint:gosec // never negative
		}
	}
	<-js.PublishAsyncComplete()
	if err := log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	point, err := mark.ParseResumePoint("new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mark.Resume(t.Context(), js, layout.Layout{Names: names}, point); err != nil {
		t.Fatal(err)
	}
}

// inUse is the heap that is reachable, when everything that may be in hand has come
// to rest.
func inUse() int64 {
	synctest.Wait()
	for range 3 { // what pools hold goes with the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far from what an int64 holds
}
