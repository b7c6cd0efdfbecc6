package deliverylog

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/popsee/webhooks/delivery"
)

// Bounds of what a record tells, in bytes. Package delivery keeps to smaller
// ones; they hold here for whatever a reader may meet.
const (
	maxText    = 512 // ids, hosts, details
	maxSnippet = 2 << 10
	maxRuns    = 1000 // runs in one record; more become several records
)

// appendAttempt writes one line. It is written by hand because it runs once an
// attempt: an encoder that reflects takes five times as long.
func appendAttempt(b []byte, seq uint64, a *delivery.Attempt) []byte {
	b = append(b, `{"kind":"attempt"`...)
	b = appendString(b, "survey", string(a.Survey), maxText)
	b = appendTime(b, "at", a.Started)
	b = append(b, `,"seqs":"`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, '"')
	b = appendString(b, "event", a.EventID, maxText)
	b = appendNumber(b, "number", int64(a.Number))
	b = appendNumber(b, "revision", int64(a.Revision))
	b = appendString(b, "host", a.Host, maxText)
	b = appendString(b, "replay", a.Replay, maxText)
	b = appendBool(b, "test", a.Test)
	b = appendNumber(b, "took", int64(a.Took))
	b = appendNumber(b, "dns", int64(a.Phases.DNS))
	b = appendNumber(b, "connect", int64(a.Phases.Connect))
	b = appendNumber(b, "tls", int64(a.Phases.TLS))
	b = appendNumber(b, "first_byte", int64(a.Phases.FirstByte))
	b = appendBool(b, "reused", a.Phases.Reused)
	b = appendNumber(b, "status", int64(a.Status))
	if a.Verdict != 0 {
		b = appendString(b, "verdict", a.Verdict.String(), maxText)
	}
	b = appendString(b, "reason", string(a.Reason), maxText)
	b = appendNumber(b, "after", int64(a.After))
	b = appendString(b, "detail", a.Detail, maxText)
	b = appendString(b, "snippet", a.Snippet, maxSnippet)
	return append(b, "}\n"...)
}

// appendSettled writes one line of what was settled without a 2xx.
func appendSettled(b []byte, k settledKey, since time.Time, runs []Run) []byte {
	b = append(b, `{"kind":"`...)
	b = append(b, k.kind...)
	b = append(b, '"')
	b = appendString(b, "survey", string(k.survey), maxText)
	b = appendTime(b, "at", since)
	b = appendRuns(b, runs)
	return append(b, "}\n"...)
}

func appendDropped(b []byte, l Loss) []byte {
	b = append(b, `{"kind":"dropped"`...)
	b = appendTime(b, "at", l.Since)
	b = appendRuns(b, []Run{l.Run})
	b = appendNumber(b, "records", int64(l.Records))
	b = appendTime(b, "until", l.Until)
	return append(b, "}\n"...)
}

func appendRuns(b []byte, runs []Run) []byte {
	b = append(b, `,"seqs":"`...)
	for i, r := range runs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, r.From, 10)
		if r.To > r.From {
			b = append(b, '-')
			b = strconv.AppendUint(b, r.To, 10)
		}
	}
	return append(b, '"')
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendNumber(b []byte, key string, n int64) []byte {
	if n <= 0 {
		return b
	}
	return strconv.AppendInt(appendKey(b, key), n, 10)
}

func appendBool(b []byte, key string, v bool) []byte {
	if !v {
		return b
	}
	return append(appendKey(b, key), "true"...)
}

func appendTime(b []byte, key string, t time.Time) []byte {
	b = append(appendKey(b, key), '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendString(b []byte, key, s string, limit int) []byte {
	if s == "" {
		return b
	}
	return appendQuoted(appendKey(b, key), s, limit)
}

const hex = "0123456789abcdef"

// appendQuoted copies plain text in one piece; only what JSON cannot hold is
// looked at by itself.
func appendQuoted(b []byte, s string, limit int) []byte {
	s = clip(s, limit)
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, c)
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c < utf8.RuneSelf:
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	default:
		return append(b, `\ufffd`...)
	}
}

// plain are the bytes a JSON string holds as they are. It is never written
// after.
var plain = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// clip cuts between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
