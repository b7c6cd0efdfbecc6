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
