package config

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// awaitTime is how long the watch is waited for. Longer, and the leader is asked for
// the one key: it knows, however far behind this process or its reader's server is.
const awaitTime = 250 * time.Millisecond

// caughtUp waits until everything that was in the bucket at the time of the call is in
// memory, and says whether that is so. The watch brings an endpoint a moment after it
// was stored, or much later where this process or NATS is short of CPU, and an event
// that was published after it may be here first.
func (s *Store) caughtUp(ctx context.Context) bool {
	called := time.Now()
	patience := time.NewTimer(awaitTime)
	defer patience.Stop()
	for {
		st := s.state.Load()
		switch {
		case !st.following || s.js.Conn().Status() != nats.CONNECTED:
			return false
		case st.asOf.After(called) && s.current(st):
			return true
		}
		select {
		case s.behind <- struct{}{}:
		default: // somebody has asked, and the look that follows begins after this call too
		}
		select {
		case <-st.replaced:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}
