package audit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/consumer/audit"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// BenchmarkAudit audits events that were delivered, each by one attempt, server and
// audit in one process: go test -bench Audit -benchtime 1000000x ./consumer/audit.
func BenchmarkAudit(b *testing.B) {
	js := bustest.Start(b)
	l := layout.Layout{}
	if _, err := provision.Run(b.Context(), js, l, provision.Ensure, zerolog.Nop()); err != nil {
		b.Fatal(err)
	}
	log := deliverylog.New(js, l.Names, deliverylog.Options{MaxBuffered: 1 << 30})
	for i := range b.N {
		survey := events.Survey(fmt.Sprint("survey-", i%1000))
		if _, err := js.PublishAsync(l.Names.Subject(survey), fmt.Appendf(nil, `{"event":"response.completed","survey":{"id":%q},"response":{"id":"r-%d"}}`, survey, i)); err != nil {
			b.Fatal(err)
		}
		log.Attempt(uint64(i)+1, delivery.Attempt{ //nolint:gosec // never negative
			Survey: survey, EventID: fmt.Sprint("r-", i), Host: "hooks.example.com:443", Number: 1, Revision: 3, Started: time.Now(), Took: 23 * time.Millisecond,
			Phases: delivery.Phases{FirstByte: 22 * time.Millisecond, Reused: true}, Status: 200, Verdict: delivery.Delivered, Reason: delivery.Reason2xx, Snippet: `{"ok":true}`,
		})
		if i%50_000 == 49_999 {
			if err := log.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	<-js.PublishAsyncComplete()
	if err := log.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	point, err := mark.ParseResumePoint("new") // all of it counts as settled
	if err != nil {
		b.Fatal(err)
	}
	if _, err := mark.Resume(b.Context(), js, l, point); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	r, err := audit.Run(b.Context(), js, l.Names, audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if !r.Proven() || r.Counts[audit.Delivered] != uint64(b.N) { //nolint:gosec // never negative
		b.Errorf("%v", r.Counts)
	}
}
