package events

// The W3C trace headers, as NATS carries them: keys are case sensitive there.
const (
	traceparentHeader = "traceparent"
	tracestateHeader  = "tracestate"

	traceparentLength = 55  // version 00 of the W3C recommendation
	maxTracestate     = 512 // what the recommendation asks to be propagated at least
)

// trace returns the trace headers of a message, without those that are not
// well formed: a publisher's mistake must not become a receiver's.
func trace(header map[string][]string) (parent, state string) {
	if len(header) == 0 {
		return "", ""
	}
	parent = first(header[traceparentHeader])
	if !validTraceparent(parent) {
		return "", ""
	}
	state = first(header[tracestateHeader])
	if len(state) > maxTracestate || !printable(state) {
		state = ""
	}
	return parent, state
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// validTraceparent accepts 2-32-16-2 lower-case hex digits with dashes between.
func validTraceparent(s string) bool {
	if len(s) != traceparentLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		dash := i == 2 || i == 35 || i == 52
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
