// Package wait waits for a while, or until there is no reason to any more.
package wait

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends; it says whether it waited all of it.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Outlive returns a context with ctx's values that ends d after ctx has: for what has
// begun by then, and must not take for ever.
func Outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		For(late, d)
		cancel()
	})
	return late, func() {
		forget()
		cancel()
	}
}
