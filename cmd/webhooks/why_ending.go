package main

import (
	"fmt"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// whereabouts says in one word where a response is.
type whereabouts string

// Where a response can be.
const (
	isDelivered whereabouts = "delivered"
	isWaiting   whereabouts = "waiting" // in its lane
	isOwed      whereabouts = "owed"    // brought into its lane from the event stream later
	isDead      whereabouts = "dead-letter"
	isUnowed    whereabouts = "no-webhook" // nothing is owed
	isAhead     whereabouts = "queued"     // no replica has been given it yet
	isInHand    whereabouts = "in-hand"    // given to a replica, not yet settled for all we know
	isSettled   whereabouts = "settled"    // nothing is to be done, but how it ended is not known
	isGone      whereabouts = "gone"       // it was a dead letter, or was erased
)

// ending is where a response is, and what happens next.
type ending struct {
	State    whereabouts `json:"state"`
	Now      string      `json:"now"`
	Next     string      `json:"next,omitempty"`
	NextAt   time.Time   `json:"next_at,omitzero"`
	Commands []string    `json:"commands,omitempty"` // for a person to run, in this order
}

// ending works out where the response is. The order counts: what is delivered may
// still be seen elsewhere for a moment.
func (f *facts) ending() ending {
	delivered, at := f.deliveredAt()
	letter, buried := f.letter()
	switch {
	case f.waiting != nil && !at.After(f.waiting.Parked):
		return f.inLane()
	case buried && !at.After(letter.Buried):
		return f.buried(letter)
	case delivered:
		return ending{State: isDelivered, Now: "delivered at " + shortTime(at)}
	case f.health.Owes(f.sequence, f.published) && !f.gone && f.sequence <= f.live.delivered:
		return f.owed()
	case f.lastSettled() != "":
		return f.settled(f.lastSettled())
	default:
		return f.inLive()
	}
}

// deliveredAt is when it was last accepted.
func (f *facts) deliveredAt() (found bool, at time.Time) {
	for _, r := range f.records {
		if r.Kind == deliverylog.KindAttempt && r.Verdict == delivery.Delivered && r.At.After(at) {
			found, at = true, r.At
		}
	}
	return found, at
}

// letter is the newest of its dead letters.
func (f *facts) letter() (l deadletters.Letter, found bool) {
	for _, one := range f.letters {
		if !found || one.Buried.After(l.Buried) {
			l, found = one, true
		}
	}
	return l, found
}

// lastSettled is how it was settled last without being accepted.
func (f *facts) lastSettled() (kind deliverylog.Kind) {
	var at time.Time
	for _, r := range f.records {
		switch r.Kind {
		case deliverylog.KindNoWebhook, deliverylog.KindOwed, deliverylog.KindDead, deliverylog.KindParked, deliverylog.KindForgotten:
			if !r.At.Before(at) {
				kind, at = r.Kind, r.At
			}
		case deliverylog.KindAttempt, deliverylog.KindDropped:
		}
	}
	return kind
}

// inLane is the end of one that waits in its lane.
func (f *facts) inLane() ending {
	e := ending{State: isWaiting, Now: "waits in its lane"}
	if f.obstructed(&e) {
		return e
	}
	due, ok := delivery.Next(latest(f.waiting.Parked, f.health.Recovered), f.id, f.now)
	last, tried := f.triedByItself()
	reason := f.waiting.Reason
	if tried {
		reason = string(last.Reason)
	}
	switch {
	case f.health.Failing():
		e.Now += fmt.Sprintf(": its endpoint fails since %s, last: %s", ago(f.health.Since, f.now), f.health.Reason)
		e.NextAt = f.health.NextProbe
		e.Next = "one event is tried at " + ahead(e.NextAt, f.now) + "; once one is accepted, all that waits is sent at once"
	case f.waiting.DueNow && !tried:
		e.Next = "it is sent as soon as its turn comes"
	case ok:
		e.Now += ": it fails by itself, with " + reason
		e.Next, e.NextAt = "it is tried again at about "+ahead(due, f.now), due
	default:
		e.Now += ": it fails by itself, with " + reason
		e.Next = "its schedule has ended: after one more try it becomes a dead letter"
	}
	return e
}

// triedByItself is its last try from its lane that failed. That an event was due at
// once when it was parked says nothing any more when it has been tried since: its own
// schedule does then. When its endpoint works again after that, all is due once more.
func (f *facts) triedByItself() (last deliverylog.Record, found bool) {
	since := latest(f.waiting.Parked, f.health.Recovered)
	for _, r := range f.records {
		if r.Kind == deliverylog.KindAttempt && r.Verdict == delivery.Again && !r.At.Before(since) && !r.At.Before(last.At) {
			last, found = r, true
		}
	}
	return last, found
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// obstructed says what keeps anything from being sent to the endpoint until
// somebody does something.
func (f *facts) obstructed(e *ending) bool {
	survey := string(f.survey)
	switch f.obstacle {
	case noEndpoint:
		e.Now += ", but its survey has no endpoint any more"
		e.Next = "it becomes a dead letter"
		e.Commands = []string{"webhooks endpoint set " + survey + " --url https://…"}
	case switchedOff:
		e.Now += ": its owner has switched the endpoint off"
		e.Next = "it is sent when the endpoint is switched on"
		e.Commands = []string{"webhooks endpoint enable " + survey}
	case notValid:
		e.Now += ": its endpoint is not valid"
		e.Next = "it is sent when the endpoint is mended"
		e.Commands = []string{"webhooks endpoint get " + survey}
	case givenUp:
		e.Now += fmt.Sprintf(": its endpoint is disabled since %s by %s: %s", ago(f.health.Disabled.At, f.now), endpoints.ByWhom(f.health.Disabled.By), f.health.Disabled.Why)
		e.Next = "it is sent when the endpoint is enabled"
		e.Commands = []string{"webhooks endpoint enable " + survey}
	case noObstacle:
		return false
	}
	return true
}

// owed is the end of one that stays in the event stream for now.
func (f *facts) owed() ending {
	e := ending{State: isOwed, Now: "owed, from the event stream where it stands"}
	switch {
	case f.obstructed(&e):
	case f.health.Failing():
		e.NextAt = f.health.NextProbe
		e.Next = "its endpoint is tried at " + ahead(e.NextAt, f.now) + "; once it accepts, what waits is sent, and this is brought when there is room"
	default:
		e.Next = "it is brought into its lane and sent as soon as there is room"
	}
	return e
}

// buried is the end of a dead letter.
func (f *facts) buried(l deadletters.Letter) ending {
	e := ending{State: isDead, Now: fmt.Sprintf("dead letter %d, kept for 90 days: %s", l.Sequence, l.Reason)}
	redrive := fmt.Sprintf("webhooks dead-letters redrive %d", l.Sequence)
	switch {
	case f.noEvent != "":
		e.Next = "nothing: it can never be delivered as it is: " + f.noEvent
		e.Commands = []string{fmt.Sprintf("webhooks dead-letters show %d", l.Sequence)}
	case l.Reason == events.TooLarge.String():
		e.Next = fmt.Sprintf("nothing, until the service takes events of %d bytes (--event-max-bytes) and it is redriven", l.Bytes)
		e.Commands = []string{redrive}
	case f.obstacle == noEndpoint:
		e.Next = "nothing, until its survey has an endpoint and it is redriven"
		e.Commands = []string{fmt.Sprintf("webhooks endpoint set %s --url https://…", f.survey), redrive}
	case f.obstacle == givenUp:
		e.Next = "nothing, until its endpoint is enabled and it is redriven"
		e.Commands = []string{fmt.Sprintf("webhooks endpoint enable %s", f.survey), redrive}
	default:
		e.Next = "nothing, until it is redriven"
		e.Commands = []string{redrive}
	}
	return e
}

// askAgain is what to do where the delivery log should know more than it does.
const askAgain = "ask again in a moment: the log is written up to a second late, and a crash loses its last records"

// settled is the end of one of which only the log tells.
func (f *facts) settled(kind deliverylog.Kind) ending {
	switch kind {
	case deliverylog.KindNoWebhook:
		return ending{State: isUnowed, Now: "nothing is owed: the survey had no webhook when it came"}
	case deliverylog.KindDead:
		return ending{State: isGone, Now: "the dead letter is gone: somebody redrove or deleted it, or its 90 days were over"}
	case deliverylog.KindForgotten:
		return ending{State: isGone, Now: "erased, because somebody asked for that: webhooks forget"}
	case deliverylog.KindOwed:
		return ending{
			State: isSettled, Now: "it was owed and is not any more: it was forgotten with webhooks endpoint enable --no-replay, or how it ended is not in the delivery log",
			Next: askAgain,
		}
	default:
		return ending{
			State: isSettled, Now: "it was in its lane and is not any more; how that ended is not in the delivery log",
			Next: askAgain,
		}
	}
}

// inLive is the end of one of which no settlement is known.
func (f *facts) inLive() ending {
	switch {
	case !f.live.there:
		return ending{State: isAhead, Now: "in the event stream; the live consumer does not exist", Next: "it is made when the service starts: webhooks run"}
	case f.sequence > f.live.delivered:
		return ending{
			State: isAhead, Now: fmt.Sprintf("in the event stream: no replica has been given it yet, %s before it", isAre(f.sequence-f.live.delivered-1)),
			Next: "it is sent when its turn comes",
		}
	case f.sequence > f.live.floor:
		return ending{
			State: isInHand, Now: fmt.Sprintf("given to a replica; that it is settled is not known (all up to sequence %d are)", f.live.floor),
			Next: "if it is not, it is being tried right now, or given to another replica after --ack-wait",
		}
	case f.sequence < f.live.start:
		return ending{State: isSettled, Now: fmt.Sprintf("it lies before sequence %d, where the live consumer began; the delivery log does not know it", f.live.start)}
	case !f.logFrom.IsZero() && f.logFrom.After(f.published):
		return ending{State: isSettled, Now: "settled; how is no longer in the delivery log, which is kept for seven days"}
	default:
		return ending{
			State: isSettled, Now: "settled; how is not in the delivery log",
			Next: askAgain,
		}
	}
}

func isAre(n uint64) string {
	if n == 1 {
		return "1 event is"
	}
	return fmt.Sprintf("%d events are", n)
}
