package main

import (
	"context"
	"errors"
	"time"

	retry "github.com/sethvargo/go-retry"

	"github.com/popsee/webhooks/consumer/layout"
)

// A cluster whose nodes were all started a moment ago has no leader yet, and
// whoever starts the service with them would see it end.
const (
	leaderTime  = 30 * time.Second // some times what an election takes (4 s, measured)
	leaderAgain = 500 * time.Millisecond
	accountTime = 3 * time.Second // before a first leader is known, a question is not even refused
)

// patient is a step of the start that is taken again while the cluster has no
// leader. A step that fails has opened nothing.
func (v *service) patient(open func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		said := false
		return retry.Do(ctx, retry.WithMaxDuration(leaderTime, retry.NewConstant(leaderAgain)), func(ctx context.Context) error {
			err := open(ctx)
			if !layout.Leaderless(err) && (!errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil) {
				return err
			}
			if !said {
				v.log.Warn().Err(err).Msg("JetStream does not answer: a cluster may have no leader yet; waiting for one")
				said = true
			}
			return retry.RetryableError(err)
		})
	}
}
