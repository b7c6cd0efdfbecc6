package deadletters

import (
	"time"

	"github.com/popsee/webhooks/events"
)

// Filter says which letters are meant. Its zero value means all of them.
type Filter struct {
	Sequences []uint64      // only these letters; empty means any
	Survey    events.Survey // only this survey's; empty means any
	Unknown   bool          // only those whose survey is unknown
	Reason    string        // only those with this reason; empty means any
	Since     time.Time     // buried then or later; zero means from the beginning
	Until     time.Time     // buried before; zero means up to now
	Limit     int           // at most so many, the oldest; 0 means no limit
	Bodies    bool          // List fetches the bodies too
}

// subject is the one subject that can hold what is meant; empty means any.
func (f Filter) subject(names events.Names) string {
	if f.Survey == "" && !f.Unknown {
		return ""
	}
	return names.DeadSubject(f.Survey)
}

// wants judges one letter.
func (f Filter) wants(l Letter) bool {
	switch {
	case f.Survey != "" && l.Survey != f.Survey, f.Unknown && l.Survey != "":
		return false
	case f.Reason != "" && l.Reason != f.Reason:
		return false
	case !f.Since.IsZero() && l.Buried.Before(f.Since), f.ended(l.Buried):
		return false
	default:
		return true
	}
}

func (f Filter) ended(at time.Time) bool { return !f.Until.IsZero() && !at.Before(f.Until) }
