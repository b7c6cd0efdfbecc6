package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// What is asked of the service after each fault.
const (
	resumeWithin = 15 * time.Second // of the quorum, until something new is delivered; and no longer ever, while NATS acknowledges events and somebody leads the consumer
	stuckAfter   = 60 * time.Second // nothing that can be delivered waits for so long
	quorumWithin = 60 * time.Second // NATS' own affair; then the suite has failed
)

// check is what was found after one fault.
type check struct {
	Gap     time.Duration // the longest time from the fault on in which NATS acknowledged events and nothing was delivered
	Rate    float64       // events acknowledged a second meanwhile, outages left out
	Quorum  time.Duration // from the fault's end until an event was acknowledged
	Resumed time.Duration // from there until a new one was delivered
	Settled time.Duration // and until all that was published before was delivered or elsewhere
	Verdict verdict
	Again   int // duplicates since the check before
	Allowed int // of them
	Wrong   []string

	standing []int     // events in lanes although they had been delivered
	looked   time.Time // when that was
}

func (c *check) complain(format string, args ...any) {
	c.Wrong = append(c.Wrong, fmt.Sprintf(format, args...))
}

// before is what had been counted when a fault began.
type before struct {
	began  time.Time
	totals totals
}

// check waits until the deployment has recovered, and finds a place for every
// event.
func (d *deployment) check(ctx context.Context, f fault, b before) (*check, error) {
	c := &check{}
	ended := time.Now()
	if err := poll(ctx, quorumWithin, func() error { return unless(d.ledger.lastAck().After(ended), "nothing is acknowledged") }); err != nil {
		return c, fmt.Errorf("after %s: %w", quorumWithin, err)
	}
	quorum := time.Now()
	c.Quorum = quorum.Sub(ended)
	_ = poll(ctx, stuckAfter, func() error {
		return unless(!d.ledger.firstDelivered(quorum).IsZero(), "nothing is delivered")
	})
	if c.Resumed = time.Since(quorum); c.Resumed > resumeWithin+d.breaking.headless(quorum) {
		c.complain("delivery resumed %s after the quorum", c.Resumed.Round(time.Second))
	}
	if err := poll(ctx, stuckAfter-c.Resumed, func() error { return d.settled(ctx, quorum) }); err != nil {
		c.complain("stuck for a minute: %v", err)
	}
	if f.drains {
		if err := poll(ctx, stuckAfter-time.Since(d.breaking.turned), func() error { return d.lanesDrained(ctx, d.breaking.turned) }); err != nil {
			c.complain("a minute after endpoints began to work: %v", err)
		}
	}
	c.Settled = time.Since(quorum)
	if err := d.account(ctx, c, quorum); err != nil {
		return c, err
	}
	if f.exact {
		d.removed(ctx, c)
	}
	now := time.Now()
	all, lasted := d.ledger.all(), stretch{b.began, now}
	c.Rate, c.Gap = rate(all, lasted), worstGap(all, lasted)
	if c.Gap > resumeWithin+d.breaking.headless(b.began) {
		c.complain("nothing was delivered for %s, although NATS acknowledged events", c.Gap.Round(100*time.Millisecond))
	}
	c.Again, c.Allowed = d.ledger.totals().Again-b.totals.Again, f.bound(d.mayRepeat(b.began, now), d.standing)
	if c.Again > c.Allowed {
		c.complain("%d duplicates, there may be %d", c.Again, c.Allowed)
	}
	d.standing, d.looked = len(c.standing), c.looked
	return c, ctx.Err()
}

func unless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// settled says what of the events acknowledged until a moment still waits that
// should not: those of healthy endpoints, and whatever the live consumer has in
// hand.
func (d *deployment) settled(ctx context.Context, until time.Time) error {
	last, waiting := uint64(0), 0
	for _, e := range d.ledger.known(until) {
		last = max(last, e.seq)
		if kindOf(e.survey) == steady && e.accepted == 0 && !d.isTaken(e) {
			waiting++
		}
	}
	if waiting > 0 {
		return fmt.Errorf("%d events of healthy endpoints", waiting)
	}
	floor, _, err := d.floor(ctx)
	if err == nil && floor < last {
		err = fmt.Errorf("the live consumer stands at %d of %d", floor, last)
	}
	return err
}

func (d *deployment) isTaken(e event) bool {
	return slices.ContainsFunc(d.taken, func(s span) bool { return s.holds(e) })
}

// foundWithin is how long an event is looked for that is not where it was a moment
// ago: it may be on its way, and NATS may be busy.
const foundWithin = 20 * time.Second

// account finds a place for every event acknowledged until a moment, and what has
// stood in a lane for too long.
func (d *deployment) account(ctx context.Context, c *check, until time.Time) error {
	var w whereabouts
	err := poll(ctx, stuckAfter, func() (err error) {
		c.looked = time.Now()
		w, err = d.whereabouts(ctx)
		return err
	})
	for deadline := time.Now().Add(foundWithin); err == nil; {
		known := d.ledger.known(until)
		c.Verdict = judge(known, w, d.taken)
		if len(c.Verdict.Lost) == 0 || time.Now().After(deadline) {
			d.judged(c, known, w)
			return nil
		}
		if err = process.Sleep(ctx, time.Second); err == nil {
			c.looked = time.Now()
			w, err = d.whereabouts(ctx)
		}
	}
	return err
}

// judged complains of events that are not where they may be.
func (d *deployment) judged(c *check, known map[int]event, w whereabouts) {
	if lost := c.Verdict.Lost; len(lost) > 0 {
		c.complain("%d events lost: %v", len(lost), d.describe(lost))
	}
	d.complainOfDead(c, w)
	c.standing = standing(d.ledger.all(), w)
	if late := overdue(known, w, d.receiver.works, d.breaking.turned, time.Now()); len(late) > 0 {
		c.complain("%d events wait in lanes of endpoints that have worked for more than a minute: %v", len(late), d.describe(late))
	}
}

// complainOfDead complains of dead letters that should not be.
func (d *deployment) complainOfDead(c *check, w whereabouts) {
	if buried := c.Verdict.Buried; len(buried) > 0 {
		c.complain("%d events were given up on, the first as %q, although no endpoint was to lose them: %v", len(buried), w.dead[buried[0]], d.describe(buried))
	}
	if len(w.stray) > 0 {
		c.complain("%d dead letters of events that nobody published: %v", len(w.stray), w.stray[:min(len(w.stray), 10)])
	}
}

// describe tells of a few events what is known.
func (d *deployment) describe(lost []int) (told []string) {
	d.ledger.mu.Lock()
	defer d.ledger.mu.Unlock()
	for _, i := range lost[:min(len(lost), 10)] {
		e := d.ledger.events[i]
		told = append(told, fmt.Sprintf("%s (%s, sequence %d, acknowledged %s)", d.ledger.id(i), surveyID(e.survey), e.seq, e.acked.Format("15:04:05.000")))
	}
	return told
}
