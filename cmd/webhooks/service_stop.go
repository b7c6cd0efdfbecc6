package main

import (
	"context"
	"time"
)

// How long a stop may take, whether or not NATS answers: an embedded server whose disk
// was full answers no publish any more, even when there is room again, and may never
// stop (see natsd.Server.Shutdown). Whoever stops the service gives it 40 s.
const (
	finishTime = 25 * time.Second // what is in hand may finish
	heardTime  = 5 * time.Second  // for it to hear that it may not any more
	stopTime   = 36 * time.Second // everything, closing included; what has not closed then is left as a crash would leave it
)

// finish waits for what is in hand, and ends it when that takes long. What does not
// end then is left: it is as safe as it would be from a crash.
func finish(ended <-chan error, stopWork func()) error {
	late := time.AfterFunc(finishTime, stopWork)
	defer late.Stop()
	limit := time.NewTimer(finishTime + heardTime)
	defer limit.Stop()
	select {
	case err := <-ended:
		return err
	case <-limit.C:
		return withHint("look for what NATS says above; what was not acknowledged is delivered again after the next start",
			"what is in hand has not ended after %s, and is left behind", finishTime+heardTime)
	}
}

// close closes what was opened, in what is left of the time for a stop.
func (v *service) close() error {
	by := v.endBy
	if by.IsZero() {
		by = time.Now().Add(stopTime)
	}
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	return v.closers.Close(ctx)
}
