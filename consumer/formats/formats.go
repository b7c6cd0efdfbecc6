// Package formats counts what on the bus a newer version wrote.
//
// Whatever is stored bears a format: messages in the header Popsee-Format, values
// of buckets in their field "format". A version reads its own and the one before,
// and leaves everything else where it stands: it neither delivers it nor changes nor
// removes it. deployments/upgrades.md says what that means for an upgrade.
package formats

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// newest is how many messages of a stream are looked at, from its end: what a newer
// version writes stands there, and people ask again and again. Whoever lists lanes,
// dead letters or the delivery log is told of every one that cannot be read.
const newest = 1_000

// Left is what is left alone in one stream or bucket.
type Left struct {
	Where string `json:"where"` // the stream or bucket
	What  string `json:"what"`  // what stands there, for people, as a plural
	Count int    `json:"count"`
	Least bool   `json:"at_least,omitempty"`  // there may be more: not every message was looked at,
	Of    int    `json:"of_newest,omitempty"` // but so many, from the end
}

// String says it for people.
func (l Left) String() string {
	if l.Least {
		return fmt.Sprintf("%d of the newest %d %s", l.Count, l.Of, l.What)
	}
	return fmt.Sprintf("%d %s", l.Count, l.What)
}

// place is a stream whose messages, or a bucket whose values, have a format.
type place struct {
	stream, where, what string
	newer               func(walk.Message) bool
	bodies              bool
}

func places(names events.Names) []place {
	stream := func(name, what string) place {
		return place{stream: name, where: name, what: what, newer: newerMessage}
	}
	bucket := func(name, what string) place {
		return place{stream: "KV_" + name, where: name, what: what, newer: newerValue, bodies: true}
	}
	return []place{
		stream(names.Lanes(), "waiting events"),
		stream(names.DeadLetters(), "dead letters"),
		stream(names.Attempts(), "messages of the delivery log"),
		bucket(names.State(), "marks"),
		bucket(names.Health(), "health records"),
		bucket(names.Replays(), "replays"),
	}
}

// Newer counts what is in another format than this version writes, place by place;
// nil where there is nothing among the newest of each. A stream or bucket that does not
// exist is left out.
// The formats of endpoints and leases are not asked for: an endpoint that this
// version does not understand is invalid and says so, a lease counts by its key.
func Newer(ctx context.Context, js jetstream.JetStream, names events.Names) (all []Left, err error) {
	for _, p := range places(names) {
		l, err := p.count(ctx, js)
		if err != nil {
			return all, fmt.Errorf("look for formats of a newer version: %w", err)
		}
		if l.Count > 0 {
			all = append(all, l)
		}
	}
	return all, nil
}

func (p place) count(ctx context.Context, js jetstream.JetStream) (Left, error) {
	l := Left{Where: p.where, What: p.what}
	stream, err := js.Stream(ctx, p.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return l, nil
	}
	o := walk.Options{Bodies: p.bodies}
	if l.Least = state.Msgs > newest && state.LastSeq > newest; l.Least {
		o.From, l.Of = state.LastSeq-newest+1, newest
	}
	for m, err := range walk.Stream(ctx, js, p.stream, o) {
		if err != nil {
			return l, err
		}
		if p.newer(m) {
			l.Count++
		}
		if m.Sequence >= state.LastSeq {
			break // what comes meanwhile is not waited for
		}
	}
	return l, nil
}

func newerMessage(m walk.Message) bool { return m.Header.Get(events.FormatHeader) != events.Format }

func newerValue(m walk.Message) bool {
	return m.Header.Get("KV-Operation") == "" && events.OtherFormat(m.Body) != ""
}
