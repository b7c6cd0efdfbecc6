package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/delivery"
)

func failed(r delivery.Reason, after time.Duration) delivery.Attempt {
	return delivery.Attempt{Verdict: delivery.Again, Reason: r, After: after}
}

func TestWhichFailuresAreRiddenOver(t *testing.T) {
	for name, c := range map[string]struct {
		a    delivery.Attempt
		want bool
	}{
		"refused":                      {failed(delivery.ReasonRefused, 0), true},
		"reset":                        {failed(delivery.ReasonReset, 0), true},
		"502":                          {failed(delivery.Reason502, 0), true},
		"503":                          {failed(delivery.Reason503, 0), true},
		"503 with a short wait":        {failed(delivery.Reason503, time.Second), true},
		"503 with a long wait":         {failed(delivery.Reason503, time.Minute), false},
		"504":                          {failed(delivery.Reason504, 0), true},
		"429 with a short wait":        {failed(delivery.Reason429, time.Second), true},
		"429 without a stated wait":    {failed(delivery.Reason429, 0), false},
		"429 with a long wait":         {failed(delivery.Reason429, time.Hour), false},
		"500":                          {failed(delivery.Reason5xx, 0), false},
		"404":                          {failed(delivery.Reason4xx, 0), false},
		"a redirect":                   {failed(delivery.Reason3xx, 0), false},
		"a time-out":                   {failed(delivery.ReasonTimeout, 0), false},
		"a bad certificate":            {failed(delivery.ReasonTLS, 0), false},
		"a blocked address":            {failed(delivery.ReasonBlocked, 0), false},
		"a 2xx":                        {delivery.Attempt{Verdict: delivery.Delivered, Reason: delivery.Reason2xx}, false},
		"410":                          {delivery.Attempt{Verdict: delivery.Gone, Reason: delivery.Reason410}, false},
		"our own fault":                {delivery.Attempt{Verdict: delivery.Ours, Reason: delivery.ReasonRefused}, false},
		"an attempt that was not made": {delivery.Attempt{}, false},
	} {
		if got := blip(c.a); got != c.want {
			t.Errorf("%s: ridden over %v, want %v", name, got, c.want)
		}
	}
}

func TestABlipIsTriedTwiceMoreWithinThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, tries := time.Now(), 0
		a := ride(t.Context(), func(n int) (delivery.Attempt, bool) {
			if tries++; n != tries {
				t.Errorf("try %d says it is number %d", tries, n)
			}
			return failed(delivery.ReasonRefused, 0), true
		})
		if tries != 3 || a.Reason != delivery.ReasonRefused {
			t.Errorf("%d tries ending in %s, want 3 refused", tries, a.Reason)
		}
		if took := time.Since(start); took > rideMax {
			t.Errorf("the waits took %s, more than %s", took, rideMax)
		}
	})
}

func TestARetryAfterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a := ride(t.Context(), func(n int) (delivery.Attempt, bool) {
			if n == 1 {
				return failed(delivery.Reason429, time.Second), true
			}
			return delivery.Attempt{Verdict: delivery.Delivered}, true
		})
		if took := time.Since(start); a.Verdict != delivery.Delivered || took < time.Second {
			t.Errorf("%s after %s, want delivered after a second", a.Verdict, took)
		}
	})
}

func TestAStopEndsTheWaitButNotTheFirstTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start, tries := time.Now(), 0
		ride(ctx, func(int) (delivery.Attempt, bool) { tries++; return failed(delivery.ReasonRefused, 0), true })
		if tries != 1 || time.Since(start) != 0 {
			t.Errorf("%d tries in %s, want one and no wait", tries, time.Since(start))
		}
	})
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		v        delivery.Verdict
		stopping bool
		want     action
	}{
		{delivery.Delivered, false, actAck},
		{delivery.Delivered, true, actAck},
		{delivery.Again, false, actPark},
		{delivery.Again, true, actPark},
		{delivery.Gone, false, actPark},
		{delivery.Ours, false, actLeave},
		{delivery.Ours, true, actReturn},
		{delivery.Dead, true, actBury},
		{0, false, actLeave}, // an attempt nobody judged is never taken for delivered
	} {
		if got := decide(c.v, c.stopping); got != c.want {
			t.Errorf("decide(%s, stopping %v) = %d, want %d", c.v, c.stopping, got, c.want)
		}
	}
}
