package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/consumer/mark"
)

// pulseFor is how long the fetch loop may go without ending a pull or waiting
// for a slot before the process counts as stuck. A slot is never held longer
// than three attempts and their waits, 18 s.
const pulseFor = time.Minute

// Live says whether the replica makes progress: it fails when the fetch loop
// has not turned for a minute although it could have.
func (c *Consumer) Live() error {
	last := c.pulled.Load()
	if last == 0 {
		return nil // not started yet
	}
	if age := time.Since(time.Unix(0, last)); age > pulseFor && !c.stopping.Load() {
		return fmt.Errorf("the fetch loop has not turned for %s", age.Round(time.Second))
	}
	return nil
}

// Ready says why the replica does not deliver right now; nil when it does. An
// [mark.Alarm] among the reasons carries the command that resumes.
func (c *Consumer) Ready() error {
	if c.stopping.Load() {
		return errors.New("stopping")
	}
	if a := c.mark.Alarm(); a != nil {
		return a
	}
	look := c.lookErr.Load()
	if look == nil {
		return errors.New("starting: the live consumer has not been looked at yet")
	}
	if *look != nil && !errors.Is(*look, mark.ErrBusy) {
		return *look
	}
	if ok, since := c.endpoints.Current(); !ok {
		return fmt.Errorf("the endpoints may be out of date since %s", since.UTC().Format(time.RFC3339))
	}
	return nil
}
