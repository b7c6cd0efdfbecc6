package consumer

import (
	"context"
	"errors"
	"time"

	retry "github.com/sethvargo/go-retry"

	"github.com/popsee/webhooks/delivery"
)

// How a blip is ridden over in the process, while the message stays
// unacknowledged: two more tries, the first within 1 s, the second within 2 s
// after it, so 3 s in all.
const (
	rideTries = 2
	rideBase  = time.Second
	rideMax   = 3 * time.Second
)

// errAgain tells go-retry that another try may help; the attempt itself is kept
// beside it.
var errAgain = retry.RetryableError(errors.New("try again"))

// ride runs try until it ends in something a moment's wait would not change,
// and returns the last attempt. try says whether another one may follow. The first always runs; the waits before the
// others end with ctx.
func ride(ctx context.Context, try func(n int) (a delivery.Attempt, again bool)) delivery.Attempt {
	last, again := try(1)
	if !again || !blip(last) {
		return last // nearly every attempt: nothing is built for it
	}
	return rideOn(ctx, last, try)
}

// rideOn is the rest of [ride]. What its closures share is allocated, which is why it
// is apart.
func rideOn(ctx context.Context, last delivery.Attempt, try func(n int) (a delivery.Attempt, again bool)) delivery.Attempt {
	waits := rideWaits()
	backoff := retry.BackoffFunc(func() (time.Duration, bool) {
		wait, stop := waits.Next()
		return max(wait, last.After), stop
	})
	n := 0
	// The error says only that the tries ended; the attempt says how.
	_ = retry.Do(ctx, backoff, func(context.Context) error {
		if n++; n == 1 { // made already, by ride
			return errAgain
		}
		var again bool
		if last, again = try(n); again && blip(last) {
			return errAgain
		}
		return nil
	})
	return last
}

func rideWaits() retry.Backoff {
	return retry.WithMaxRetries(rideTries, retry.WithMaxDuration(rideMax, retry.WithFullJitter(retry.NewExponential(rideBase))))
}

// blip says whether an attempt failed fast, in a way that often passes within a
// second. A time-out is never one: it has already cost its five seconds.
func blip(a delivery.Attempt) bool {
	if a.Verdict != delivery.Again || a.After > rideBase {
		return false
	}
	switch a.Reason {
	case delivery.ReasonRefused, delivery.ReasonReset, delivery.Reason502, delivery.Reason503, delivery.Reason504:
		return true
	case delivery.Reason429:
		return a.After > 0 // without a stated wait, 429 asks for patience
	default:
		return false
	}
}
