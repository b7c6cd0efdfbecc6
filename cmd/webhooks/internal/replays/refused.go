package replays

import "fmt"

// Why is a reason not to start a replay.
type Why string

// The reasons; each names what would have to be asked for otherwise, or be there.
const (
	NoStart    Why = "no-start"    // it does not say from where on
	BadPoint   Why = "bad-point"   // a place in the event stream that is none
	BadRate    Why = "bad-rate"    // a rate that is none
	BadText    Why = "bad-text"    // a reason, a name or a response's id that cannot be kept
	BadSurvey  Why = "bad-survey"  // not a survey's id
	TooMany    Why = "too-many"    // more surveys than a replay can name
	NoEndpoint Why = "no-endpoint" // a survey that nothing would be sent for
	Beyond     Why = "beyond"      // past the end of the event stream
	Future     Why = "future"      // a moment that has not come
	Backwards  Why = "backwards"   // its end is before its start
	Empty      Why = "empty"       // nothing stands in the event stream
	Nothing    Why = "nothing"     // nothing that is meant can be sent
	NoEvents   Why = "no-events"   // what could be sent holds no event of these surveys
	NoResponse Why = "no-response" // a response that is not there
	KeyUsed    Why = "key-used"    // its idempotency key was used for another request
	BadKey     Why = "bad-key"     // an idempotency key that is none
)

// Refused is a replay that is not started, for a reason that whoever asks can mend.
type Refused struct {
	Why    Why
	About  string // the survey, the response or the replay; empty: none
	Detail string
}

// Error gives the detail.
func (r *Refused) Error() string { return r.Detail }

// Asked says whether it is the request that is wrong, and not what is there.
func (w Why) Asked() bool {
	switch w {
	case Empty, Nothing, NoEvents, NoResponse:
		return false
	default:
		return true
	}
}

func refuse(why Why, about, format string, args ...any) error {
	return &Refused{Why: why, About: about, Detail: fmt.Sprintf(format, args...)}
}
