// Package health is what all replicas know of endpoints that do not work, and of
// events that are owed to them.
//
// A record stands in the bucket webhook_health under the survey's id, and only
// while there is something to say: the endpoint fails, it is disabled, events
// are owed to it, or events that waited for it still do. Anyone may watch the
// bucket, to tell the survey's owner since when and why:
//
//	{"format":"1","failing_since":"2026-01-31T12:00:00Z","failing_from":1041,"reason":"timeout","failures":7,
//	 "last_failure":"2026-01-31T12:04:10Z","next_probe":"2026-01-31T12:04:50Z","waiting_events":412,
//	 "owed_from":20113,"owed_until":"2026-01-31T12:06:00Z",
//	 "disabled":{"at":"2026-01-31T12:04:10Z","by":"endpoint","why":"it answered 410 Gone","revision":12}}
//
// Every field but format may be absent. deployments/health.md says for the
// platform's people what each of them means and what to tell a customer.
//
// # Failing
//
// Whoever sees an endpoint fail as a whole writes failing_since; every replica
// then parks its events without trying; the owner of its lane probes, and ends
// it with the first 2xx.
//
// # Owed
//
// owed_from and owed_until together are a promise of the lane's owner: every
// event of this survey that stands in the event stream at or after owed_from and
// was published before owed_until (by the server's clock, which stamps each
// message) is, or has been, brought into the lane from there. So whoever meets
// such an event lets it go. The promise holds for every pair that ever stood in
// the record: a replica that has not heard of the newest one does no harm. When
// nobody was there to prolong it in time, the next one is a promise of its own, in
// owed_next.
package health

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/popsee/webhooks/events"
)

// Record says what is wrong with one endpoint.
type Record struct {
	Format string `json:"format"`

	Since       time.Time `json:"failing_since,omitzero"`  // zero: it does not fail
	From        uint64    `json:"failing_from,omitempty"`  // from this sequence of the event stream on nothing has been delivered; 0: unknown
	Reason      string    `json:"reason,omitempty"`        // of the last failure, as in the delivery log
	Failures    int       `json:"failures,omitempty"`      // from then on, of the endpoint as a whole: the one that decided it is the first, those before and beside it are in the delivery log alone
	LastFailure time.Time `json:"last_failure,omitzero"`   // when it was last tried in vain
	NextProbe   time.Time `json:"next_probe,omitzero"`     // when it is tried next
	Waiting     int       `json:"waiting_events,omitzero"` // in its lane when the record was last written

	OwedFrom  uint64    `json:"owed_from,omitempty"` // 0: nothing is owed
	OwedUntil time.Time `json:"owed_until,omitzero"`
	OwedNext  []Promise `json:"owed_next,omitempty"` // after that: promises made when the one before had lapsed

	Disabled  *Disabled `json:"disabled,omitempty"`
	Recovered time.Time `json:"recovered_at,omitzero"` // it works again since, and events of before still wait
}

// Promise is to bring every event of the event stream from a sequence on, published
// before a moment, into the lane.
type Promise struct {
	From  uint64    `json:"from"`
	Until time.Time `json:"until"`
}

func (p Promise) covers(seq uint64, published time.Time) bool {
	return p.From != 0 && seq >= p.From && published.Before(p.Until)
}

// Disabled says that nothing is sent to an endpoint until somebody changes it,
// and whose doing that is.
type Disabled struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`       // ByEndpoint or ByService
	Why      string    `json:"why"`      // in one line, for people
	Revision uint64    `json:"revision"` // of the endpoint; a newer one is not disabled
}

// Who disables endpoints. Their owners have a switch of their own, in the
// endpoint itself.
const (
	ByEndpoint = "endpoint" // it answered 410 Gone
	ByService  = "service"  // it failed for days on end
)

// Failing says whether the endpoint fails as a whole.
func (r Record) Failing() bool { return !r.Since.IsZero() }

// Probed says whether the endpoint fails as a whole and is tried by the owner of its lane
// alone. One that is disabled is not tried at all, unless it has changed since.
func (r Record) Probed() bool { return r.Failing() && r.Disabled == nil }

// PromisedAt says whether every event that is published up to a moment is promised to be
// brought into the lane, unless it stood in the event stream before the promise.
func (r Record) PromisedAt(t time.Time) bool {
	all := r.Promises()
	return len(all) > 0 && all[len(all)-1].Until.After(t)
}

// Owes says whether an event is promised to be brought into the lane from the
// event stream, and so may be let go.
func (r Record) Owes(seq uint64, published time.Time) bool {
	return r.Owed().covers(seq, published) || slices.ContainsFunc(r.OwedNext, func(p Promise) bool { return p.covers(seq, published) })
}

// Owed is the promise that is kept first; its From is 0 when there is none.
func (r Record) Owed() Promise { return Promise{r.OwedFrom, r.OwedUntil} }

// Promises are all that stand.
func (r Record) Promises() []Promise {
	if r.OwedFrom == 0 {
		return nil
	}
	return append([]Promise{r.Owed()}, r.OwedNext...)
}

func (r *Record) setPromises(all []Promise) {
	r.OwedFrom, r.OwedUntil, r.OwedNext = 0, time.Time{}, nil
	if len(all) > 0 {
		r.OwedFrom, r.OwedUntil, r.OwedNext = all[0].From, all[0].Until, all[1:]
	}
}

// promise adds a promise made at a moment. One that still stands then is only
// prolonged; one that has lapsed is not, because what came since has been tried.
// To a disabled endpoint nothing has been sent, whatever came.
func (r *Record) promise(p Promise, at time.Time) {
	all := r.Promises()
	switch last := len(all) - 1; {
	case last < 0:
		all = []Promise{p}
	case r.Disabled != nil:
		all = []Promise{{min(all[0].From, p.From), p.Until}}
	case all[last].Until.After(at):
		all[last].Until = p.Until
	default:
		all = append(all, p)
	}
	r.setPromises(all)
}

// forget forgets what was noted of an event stream that was removed: it begins behind
// the next sequence of this one, of which nothing has been delivered from another on. An
// endpoint that began to fail after this stream was made did so at a sequence of it, if
// of one that was not there yet when the stream was looked at.
func (r *Record) forget(stream Stream, from uint64) {
	r.setPromises(slices.DeleteFunc(r.Promises(), func(p Promise) bool { return p.From > stream.Last+1 }))
	if r.From > stream.Last+1 && r.Since.Before(stream.Born) {
		r.From = from
	}
}

// works ends the failing; only what is owed stays.
func (r *Record) works(remember time.Time) {
	*r = Record{OwedFrom: r.OwedFrom, OwedUntil: r.OwedUntil, OwedNext: r.OwedNext, Recovered: remember}
}

// raise ends what is promised below a sequence.
func (r *Record) raise(from uint64) {
	all := r.Promises()
	for i := range all {
		all[i].From = max(all[i].From, from)
	}
	r.setPromises(all)
}

// DisabledAt says whether the endpoint is disabled in this revision.
func (r Record) DisabledAt(revision uint64) bool {
	return r.Disabled != nil && revision <= r.Disabled.Revision
}

// nothing says that there is nothing to say.
func (r Record) nothing() bool {
	return r.Since.IsZero() && r.OwedFrom == 0 && r.Disabled == nil && r.Recovered.IsZero()
}

func decode(value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return Record{}, fmt.Errorf("read a health record: %w", err)
	}
	if r.Format != events.Format {
		return Record{}, fmt.Errorf("health record of format %.16q, this version reads %s", r.Format, events.Format)
	}
	return r, nil
}

func encode(r Record) []byte {
	r.Format = events.Format
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, numbers and times alone cannot fail
	}
	return b
}
