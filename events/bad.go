package events

import "fmt"

// BadReason says in one word why bytes are not an event. The set is closed: it
// is safe as a metric label.
type BadReason string

// The reasons.
const (
	Malformed      BadReason = "malformed"       // not the JSON an event is
	TooLarge       BadReason = "too-large"       // more bytes than the limit
	SurveyMismatch BadReason = "survey-mismatch" // the subject names another survey than the body
)

// BadReasons lists every reason, for metrics that must exist before their first
// count.
func BadReasons() []BadReason { return []BadReason{Malformed, TooLarge, SurveyMismatch} }

// String is the reason itself.
func (r BadReason) String() string { return string(r) }

// BadEvent says why bytes are not an event, and where. It quotes nothing of the
// payload but names and ids, bounded and escaped: the rest may be personal.
type BadEvent struct {
	Reason BadReason
	Offset int64  // the byte at which it was noticed, from 0
	Detail string // safe to print
}

// Error reads as one line.
func (b *BadEvent) Error() string {
	return fmt.Sprintf("%s event at byte %d: %s", b.Reason, b.Offset, b.Detail)
}

// maxQuote is how many bytes of an id an error shows.
const maxQuote = 64

// quoteShort shows an untrusted string in an error.
func quoteShort(s string) string {
	if len(s) > maxQuote {
		return fmt.Sprintf("%.*q…", maxQuote, s)
	}
	return fmt.Sprintf("%q", s)
}
