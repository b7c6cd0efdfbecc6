package audit

import (
	"time"

	"github.com/popsee/webhooks/consumer/deliverylog"
)

// Report accounts for every sequence of a range.
type Report struct {
	Stream  string    `json:"stream"`
	Created time.Time `json:"stream_created"` // what the log has from before means another stream's sequences
	From    uint64    `json:"from"`
	To      uint64    `json:"to"`

	Counts map[Fate]uint64            `json:"sequences"`      // every fate, those with none included; they add up to the range
	Runs   map[Fate][]deliverylog.Run `json:"runs,omitempty"` // where those stand that are record-dropped, unproven or lost: the first thousand runs of each

	Stretches map[Fate][]Stretch `json:"stretches,omitempty"` // what is still known of the first hundred runs that are unproven, and of those that are lost

	LogFrom time.Time `json:"log_from"`               // the delivery log proves nothing of what was published before
	OldTo   uint64    `json:"too_old_to,omitempty"`   // the last sequence published before that; 0: none in the range
	TooFar  bool      `json:"too_far,omitempty"`      // some are too old, and were asked for
	Dropped uint64    `json:"dropped_records"`        // what the log counted as lost, of events within the range
	Strange int       `json:"unreadable,omitempty"`   // messages of the log, the lanes and the dead letters that this version cannot read: what they prove is not known
	Alarm   string    `json:"alarm,omitempty"`        // why the live consumer does not go on
	Second  bool      `json:"looked_twice,omitempty"` // something was not found at first
}

// Proven says whether everything that was asked for is accounted for; see [Options] for
// what is too old.
func (r Report) Proven() bool { return !r.misses() && !r.TooFar }

// misses says whether something was not found that should be there.
func (r Report) misses() bool { return r.Counts[Unproven] > 0 || r.Counts[Lost] > 0 }
