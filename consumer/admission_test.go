package consumer

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/consumer/admit"
	"github.com/popsee/webhooks/events"
)

// Where one attempt follows another closely, and each is alone, idle endpoints must
// be forgotten all the same, or they would stay in memory for ever.
func TestSingleAttemptsDoNotPutOffTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil, nil, nil, Options{})
		ctx, stop := context.WithCancel(t.Context())
		var sweeping sync.WaitGroup
		sweeping.Go(func() { c.keepAdmission(ctx) })
		attempt := func(survey events.Survey, o admit.Outcome) (failing bool) {
			ticket, refusal := c.gate.Enter(ctx, survey, "receiver.test", admit.Limit{})
			if ticket == nil {
				t.Fatalf("refused: %s", refusal)
			}
			time.Sleep(sweepEvery / 4)
			return ticket.Leave(o)
		}
		for range 4 {
			attempt("idle", admit.Lost)
		}
		for began := time.Now(); time.Since(began) < 3*admit.IdleAfter; time.Sleep(sweepEvery / 4) {
			attempt("busy", admit.Won)
		}
		if attempt("idle", admit.Lost) {
			t.Error("a fifth failure in a row, minutes after the fourth: the idle endpoint was not forgotten")
		}
		stop()
		sweeping.Wait()
	})
}
