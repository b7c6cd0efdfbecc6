package provision

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/layout"
)

// Difference is one setting that is not as the service needs it.
type Difference struct {
	Field string `json:"field"`
	Have  string `json:"have"`
	Want  string `json:"want"`
	// Fixed says that NATS cannot change this setting on what exists.
	Fixed bool `json:"fixed"`
	// Ours is false for settings of the event stream that its owner may choose
	// freely: they are told, never a reason to stop.
	Ours bool `json:"ours"`
}

// String reads as a line of `webhooks provision`.
func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, wanted %s", d.Field, d.Have, d.Want)
}

// differences collects what is not as wanted.
type differences []Difference

func compare[T comparable](ds *differences, field string, have, want T, d Difference) {
	if have == want {
		return
	}
	d.Field, d.Have, d.Want = field, fmt.Sprint(have), fmt.Sprint(want)
	*ds = append(*ds, d)
}

var (
	mustMatch    = Difference{Ours: true}              // provision can change it
	cannotChange = Difference{Ours: true, Fixed: true} // only deleting what exists would
	ownersChoice = Difference{}                        // the platform may own the stream
)

// diffEvents compares an existing event stream with what the service relies
// on. Retention, storage and subjects carry the promise that nothing is lost;
// how long history is kept is its owner's choice.
func diffEvents(have, want jetstream.StreamConfig) differences {
	var ds differences
	compare(&ds, "retention", have.Retention.String(), want.Retention.String(), cannotChange)
	compare(&ds, "storage", have.Storage.String(), want.Storage.String(), cannotChange)
	for _, s := range want.Subjects {
		if !slices.Contains(have.Subjects, s) && !slices.ContainsFunc(have.Subjects, func(h string) bool { return layout.Covers(h, s) }) {
			ds = append(ds, Difference{Field: "subjects", Have: fmt.Sprint(have.Subjects), Want: "also " + s, Ours: true})
		}
	}
	compare(&ds, "replicas", have.Replicas, want.Replicas, ownersChoice)
	compare(&ds, "max_age", have.MaxAge, want.MaxAge, ownersChoice)
	compare(&ds, "max_bytes", have.MaxBytes, want.MaxBytes, ownersChoice)
	return ds
}

// diffConsumer compares an existing live consumer. Where it started is not
// compared: the mark moves on, the configuration keeps the first start.
func diffConsumer(have, want jetstream.ConsumerConfig) differences {
	var ds differences
	compare(&ds, "ack_policy", have.AckPolicy.String(), want.AckPolicy.String(), cannotChange)
	compare(&ds, "deliver_subject", have.DeliverSubject, want.DeliverSubject, cannotChange)
	compare(&ds, "replay_policy", have.ReplayPolicy.String(), want.ReplayPolicy.String(), cannotChange)
	compare(&ds, "ack_wait", have.AckWait, want.AckWait, mustMatch)
	compare(&ds, "max_ack_pending", have.MaxAckPending, want.MaxAckPending, mustMatch)
	compare(&ds, "max_deliver", have.MaxDeliver, want.MaxDeliver, mustMatch)
	compare(&ds, "backoff", fmt.Sprint(have.BackOff), fmt.Sprint(want.BackOff), mustMatch)
	compare(&ds, "filter", fmt.Sprint(filtersOf(have)), fmt.Sprint(filtersOf(want)), mustMatch)
	compare(&ds, "headers_only", have.HeadersOnly, want.HeadersOnly, mustMatch)
	compare(&ds, "inactive_threshold", have.InactiveThreshold, want.InactiveThreshold, mustMatch)
	compare(&ds, "max_request_batch", atLeast(have.MaxRequestBatch), 0, mustMatch)
	compare(&ds, "max_request_expires", have.MaxRequestExpires, time.Duration(0), mustMatch)
	return ds
}

// diffOwn compares a stream that is ours alone.
func diffOwn(have, want jetstream.StreamConfig) differences {
	var ds differences
	compare(&ds, "retention", have.Retention.String(), want.Retention.String(), cannotChange)
	compare(&ds, "storage", have.Storage.String(), want.Storage.String(), cannotChange)
	// Taking a stream's only subject away has been seen to remove its messages.
	compare(&ds, "subjects", fmt.Sprint(have.Subjects), fmt.Sprint(want.Subjects), cannotChange)
	compare(&ds, "discard", have.Discard.String(), want.Discard.String(), mustMatch)
	compare(&ds, "replicas", have.Replicas, want.Replicas, mustMatch)
	compare(&ds, "max_age", have.MaxAge, want.MaxAge, mustMatch)
	compare(&ds, "allow_direct", have.AllowDirect, want.AllowDirect, mustMatch)
	compare(&ds, "allow_atomic", have.AllowAtomicPublish, want.AllowAtomicPublish, mustMatch)
	compare(&ds, "max_bytes", have.MaxBytes, want.MaxBytes, ownersChoice)
	return ds
}

// diffBucket compares an existing bucket's stream.
func diffBucket(have jetstream.StreamConfig, want jetstream.KeyValueConfig) differences {
	var ds differences
	compare(&ds, "storage", have.Storage.String(), want.Storage.String(), cannotChange)
	compare(&ds, "replicas", have.Replicas, want.Replicas, mustMatch)
	compare(&ds, "history", have.MaxMsgsPerSubject, int64(want.History), mustMatch)
	compare(&ds, "ttl", have.MaxAge, want.TTL, mustMatch)
	compare(&ds, "limit_marker_ttl", have.SubjectDeleteMarkerTTL, want.LimitMarkerTTL, mustMatch)
	return ds
}

// filtersOf is what a consumer is given, in an order in which two can be compared.
func filtersOf(c jetstream.ConsumerConfig) []string {
	return slices.Sorted(slices.Values(layout.FiltersOf(c)))
}

// atLeast treats "no limit", which the server reports as 0 or -1, alike.
func atLeast(n int) int { return max(n, 0) }

// hard keeps what must be put right before the service may run.
func (ds differences) hard() differences {
	return slices.DeleteFunc(slices.Clone(ds), func(d Difference) bool { return !d.Ours })
}
