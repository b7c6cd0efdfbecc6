package deadletters

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/popsee/webhooks/events"
)

// The headers of a letter. They are a format on the bus: never renamed.
const (
	HeaderSurvey       = "Popsee-Survey"
	HeaderEventID      = "Popsee-Event-Id"
	HeaderReason       = "Popsee-Reason"
	HeaderDetail       = "Popsee-Detail"
	HeaderStack        = "Popsee-Stack"
	HeaderSourceStream = "Popsee-Source-Stream"
	HeaderSource       = "Popsee-Source-Sequence"
	HeaderPublished    = "Popsee-Published"
	HeaderAttempts     = "Popsee-Attempts"
	HeaderFirst        = "Popsee-First-Attempt"
	HeaderLast         = "Popsee-Last-Attempt"
	HeaderBytes        = "Popsee-Body-Bytes"
	HeaderSHA256       = "Popsee-Body-Sha256"
	HeaderTraceparent  = "traceparent" // lower case, as the recommendation spells it: headers are case sensitive here
	HeaderTracestate   = "tracestate"
)

// Bounds of what a letter tells, in bytes. Quoting may double a stack; together
// they stay below the 16 KiB by which an event is smaller than the largest
// message, so that every event within its limit is copied.
const (
	maxID     = 128
	maxReason = 64
	maxDetail = 1 << 10
	maxStack  = 4 << 10
	maxTrace  = 512
)

// header writes everything but the body.
func (l Letter) header() nats.Header {
	h := nats.Header{events.FormatHeader: {events.Format}}
	for _, text := range []struct {
		key, value string
		limit      int
	}{
		{HeaderSurvey, string(l.Survey), maxID},
		{HeaderEventID, l.EventID, maxID},
		{HeaderReason, l.Reason, maxReason},
		{HeaderDetail, l.Detail, maxDetail},
		{HeaderStack, l.Stack, maxStack},
		{HeaderSourceStream, l.Stream, maxID},
		{HeaderSHA256, l.SHA256, maxID},
		{HeaderTraceparent, l.Traceparent, maxTrace},
		{HeaderTracestate, l.Tracestate, maxTrace},
	} {
		if text.value != "" {
			h[text.key] = []string{quote(clip(text.value, text.limit))}
		}
	}
	h[HeaderSource] = []string{strconv.FormatUint(l.Source, 10)}
	h[HeaderAttempts] = []string{strconv.Itoa(l.Attempts)}
	h[HeaderBytes] = []string{strconv.Itoa(l.Bytes)}
	for key, at := range map[string]time.Time{HeaderPublished: l.Published, HeaderFirst: l.First, HeaderLast: l.Last} {
		if !at.IsZero() {
			h[key] = []string{at.UTC().Format(time.RFC3339Nano)}
		}
	}
	return h
}

// parse reads the headers of the message at seq. The error is an *Unreadable.
func parse(seq uint64, h nats.Header) (Letter, error) {
	if format := h.Get(events.FormatHeader); format != events.Format {
		return Letter{Sequence: seq}, &Unreadable{Sequence: seq, Format: format}
	}
	p := parser{header: h}
	l := Letter{
		Survey:      p.survey(),
		EventID:     p.text(HeaderEventID),
		Reason:      p.text(HeaderReason),
		Detail:      p.text(HeaderDetail),
		Stack:       p.text(HeaderStack),
		Stream:      p.text(HeaderSourceStream),
		Source:      p.number(HeaderSource),
		Published:   p.time(HeaderPublished),
		Attempts:    int(p.number(HeaderAttempts)),
		First:       p.time(HeaderFirst),
		Last:        p.time(HeaderLast),
		Bytes:       int(p.number(HeaderBytes)),
		SHA256:      p.text(HeaderSHA256),
		Traceparent: p.text(HeaderTraceparent),
		Tracestate:  p.text(HeaderTracestate),
		Sequence:    seq,
	}
	l.ByReference = l.SHA256 != ""
	if p.err != nil {
		return Letter{Sequence: seq}, &Unreadable{Sequence: seq, Format: events.Format, Err: p.err}
	}
	return l, nil
}

// parser keeps what was wrong, so that the fields read as a list.
type parser struct {
	header nats.Header
	err    error
}

func (p *parser) text(key string) string {
	text, err := unquote(p.header.Get(key))
	p.fail(key, err)
	return text
}

func (p *parser) survey() events.Survey {
	text := p.text(HeaderSurvey)
	if text == "" {
		return ""
	}
	survey, err := events.ParseSurvey(text)
	p.fail(HeaderSurvey, err)
	return survey
}

func (p *parser) number(key string) uint64 {
	n, err := strconv.ParseUint(p.header.Get(key), 10, 63)
	p.fail(key, err)
	return n
}

func (p *parser) time(key string) time.Time {
	text := p.header.Get(key)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	p.fail(key, err)
	return at
}

func (p *parser) fail(key string, err error) {
	if err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("header %s: %w", key, err))
	}
}

// clip cuts between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}

// quote leaves alone what a header line carries unchanged.
func quote(s string) string {
	for i := range len(s) {
		edge := i == 0 || i == len(s)-1
		if c := s[i]; c < ' ' || c > '~' || edge && (c == ' ' || c == '"') {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	return strconv.Unquote(s)
}
