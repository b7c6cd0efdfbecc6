package delivery

import (
	"strconv"
	"strings"
	"time"

	"github.com/popsee/webhooks/events"
)

// The names of the headers a receiver sees, spelled as they are sent over HTTP/1.1. They are a public contract.
const (
	HeaderSignature         = "X-Popsee-Signature" // sha256=<hex>, from the newest live secret
	HeaderEvent             = "X-Popsee-Event"     // what happened: response.completed
	HeaderDelivery          = "X-Popsee-Delivery"  // the response id: the same on every attempt, to deduplicate by
	HeaderAttempt           = "X-Popsee-Attempt"   // the tries known to us, from 1
	HeaderReplay            = "X-Popsee-Replay"    // the replay's id, on replayed events only
	HeaderTest              = "X-Popsee-Test"      // "true", on test events only
	HeaderStandardID        = "webhook-id"
	HeaderStandardTimestamp = "webhook-timestamp" // Unix seconds of this attempt
	HeaderStandardSignature = "webhook-signature" // one v1,<base64> for each live secret, separated by blanks
	HeaderTraceparent       = "traceparent"
	HeaderTracestate        = "tracestate"
)

const contentType = "application/json"

// maxHeaders is how many values can differ from one attempt to the next.
const maxHeaders = 11

// name is a header's, as each protocol spells it. HTTP/2 knows lower case alone (RFC 9113, 8.2.1), and net/http would lower
// every name twice for each request.
type name struct{ http1, http2 string }

func named(http1 string) *name { return &name{http1, strings.ToLower(http1)} }

var (
	nameHost              = named("Host")
	nameContentType       = named("Content-Type")
	nameUserAgent         = named("User-Agent")
	nameSignature         = named(HeaderSignature)
	nameEvent             = named(HeaderEvent)
	nameDelivery          = named(HeaderDelivery)
	nameAttempt           = named(HeaderAttempt)
	nameReplay            = named(HeaderReplay)
	nameTest              = named(HeaderTest)
	nameStandardID        = named(HeaderStandardID)
	nameStandardTimestamp = named(HeaderStandardTimestamp)
	nameStandardSignature = named(HeaderStandardSignature)
	nameTraceparent       = named(HeaderTraceparent)
	nameTracestate        = named(HeaderTracestate)
)

// field is one header field.
type field struct {
	name  *name
	value string
}

// headers are the fields that differ from one attempt to the next. What every attempt of a target has in common is
// ready-made: see [Target] and [Client].
type headers struct {
	fields [maxHeaders]field
	used   int
}

func (h *headers) set(n *name, value string) {
	h.fields[h.used] = field{n, value}
	h.used++
}

// all gives the fields set so far.
func (h *headers) all() []field { return h.fields[:h.used] }

// signatures are kept apart for redaction: a receiver may well print what it got.
type signatures struct {
	popsee, standard string
}

// hidden appends each signature without its prefix, for a receiver may print it with or without.
func (s signatures) hidden(to []string) []string {
	if s.popsee == "" {
		return to
	}
	to = append(to, strings.TrimPrefix(s.popsee, popseePrefix))
	for one := range strings.SplitSeq(s.standard, " ") {
		to = append(to, strings.TrimPrefix(one, standardV1))
	}
	return to
}

// build fills in everything the receiver is promised. Without any signer the request goes out unsigned; the caller has
// seen to it that an endpoint with secrets has a live one.
func (h *headers) build(t *Target, e *events.Event, m Meta, now time.Time) signatures {
	h.set(nameEvent, e.Kind)
	h.set(nameDelivery, e.ID)
	h.set(nameAttempt, strconv.Itoa(max(m.Number, 1)))
	if m.Replay != "" {
		h.set(nameReplay, m.Replay)
	}
	if m.Test {
		h.set(nameTest, "true")
	}
	if e.Traceparent != "" {
		h.set(nameTraceparent, e.Traceparent)
		if e.Tracestate != "" {
			h.set(nameTracestate, e.Tracestate)
		}
	}
	return h.sign(t, e, now)
}

// sign judges each secret by the time of this attempt, so that an expired one stops by itself.
func (h *headers) sign(t *Target, e *events.Event, now time.Time) (s signatures) {
	var room [192]byte // four signatures of 47 bytes and their blanks; more spill to the heap
	line := room[:0]
	for i := range t.signers {
		k := &t.signers[i]
		if !k.live(now) {
			continue
		}
		if s.popsee == "" {
			s.popsee = k.popsee.popsee(e.Body)
		} else {
			line = append(line, ' ')
		}
		line = k.standard.standard(line, e.ID, now.Unix(), e.Body)
	}
	if s.popsee == "" {
		return s
	}
	s.standard = string(line)
	h.set(nameSignature, s.popsee)
	h.set(nameStandardID, e.ID)
	h.set(nameStandardTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.set(nameStandardSignature, s.standard)
	return s
}
