package delivery

import "slices"

// Verdict is what an attempt's end means for its event.
type Verdict uint8

// The verdicts. The zero value is none of them, so that an attempt nobody judged can never pass for a delivered one.
const (
	Delivered Verdict = iota + 1 // a 2xx: nothing more is owed
	Again                        // the endpoint's failure: try again later
	Gone                         // 410: the endpoint is to be disabled
	Ours                         // never the endpoint's fault: wait, and count nothing against it
	Dead                         // this event can never be delivered
)

// String gives the verdict's name, which is also its metric label.
func (v Verdict) String() string {
	switch v {
	case Delivered:
		return "delivered"
	case Again:
		return "again"
	case Gone:
		return "gone"
	case Ours:
		return "ours"
	case Dead:
		return "dead"
	default:
		return "unknown"
	}
}

// MarshalText encodes the verdict as its name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Verdicts lists every verdict, for metrics that must exist before their first count.
func Verdicts() []Verdict { return []Verdict{Delivered, Again, Gone, Ours, Dead} }

// Reason says in one word why an attempt ended as it did. The set is closed: it is safe as a metric label.
type Reason string

// The reasons, as Classify and ClassifyError give them.
const (
	Reason2xx       Reason = "2xx"
	Reason3xx       Reason = "3xx" // never followed, never a success
	Reason4xx       Reason = "4xx" // any 4xx without a reason of its own
	Reason408       Reason = "408"
	Reason410       Reason = "410"
	Reason425       Reason = "425"
	Reason429       Reason = "429"
	Reason5xx       Reason = "5xx" // any 5xx without a reason of its own
	Reason502       Reason = "502"
	Reason503       Reason = "503"
	Reason504       Reason = "504"
	ReasonTimeout   Reason = "timeout"         // no status within the time an attempt has
	ReasonConnect   Reason = "connect"         // unreachable, other than refused
	ReasonRefused   Reason = "refused"         // nobody listens there
	ReasonReset     Reason = "reset"           // the connection ended before a response did
	ReasonTLS       Reason = "tls"             // handshake or certificate
	ReasonDNS       Reason = "dns"             // the name does not exist
	ReasonDNSOurs   Reason = "dns-ours"        // the resolver failed: ours when it happens to many hosts at once
	ReasonBlocked   Reason = "blocked-address" // the address guard refused
	ReasonProtocol  Reason = "protocol"        // an answer, but not one HTTP allows
	ReasonCanceled  Reason = "canceled"        // we were stopping
	ReasonLocal     Reason = "local"           // this machine had no socket or port left
	ReasonSecret    Reason = "secret"          // no usable secret: not unsealed, or all expired
	ReasonEvent     Reason = "event"           // the event's id or kind cannot be sent in a header
	ReasonPanic     Reason = "panic"           // handling the event panicked
	ReasonTransport Reason = "transport"       // our own HTTP client refused the request
)

// Reasons lists every reason, for metrics that must exist before their first count.
func Reasons() []Reason {
	return slices.Clone([]Reason{
		Reason2xx, Reason3xx, Reason4xx, Reason408, Reason410, Reason425, Reason429, Reason5xx, Reason502, Reason503, Reason504,
		ReasonTimeout, ReasonConnect, ReasonRefused, ReasonReset, ReasonTLS, ReasonDNS, ReasonDNSOurs, ReasonBlocked,
		ReasonProtocol, ReasonCanceled, ReasonLocal, ReasonSecret, ReasonEvent, ReasonPanic, ReasonTransport,
	})
}
