package delivery

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	maxExtraHeaders     = 32
	maxExtraHeaderName  = 128
	maxExtraHeaderValue = 1024
)

// CheckHeaders checks an owner's extra headers: valid, bounded, none of ours, and none that would change how the
// request is framed or routed.
func CheckHeaders(h map[string]string) error {
	if len(h) > maxExtraHeaders {
		return fmt.Errorf("%w: %d of them, at most %d are sent", ErrHeaders, len(h), maxExtraHeaders)
	}
	seen := make(map[string]bool, len(h))
	for name, value := range h {
		if problem := checkHeader(name, value); problem != "" {
			return fmt.Errorf("%w: %.64q %s", ErrHeaders, name, problem)
		}
		canonical := http.CanonicalHeaderKey(name)
		if seen[canonical] {
			return fmt.Errorf("%w: %q is given twice", ErrHeaders, canonical)
		}
		seen[canonical] = true
	}
	return nil
}

// checkHeader says what is wrong, or nothing. It never quotes the value, which is often a credential.
func checkHeader(name, value string) string {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "is not a header name"
	case len(name) > maxExtraHeaderName:
		return fmt.Sprintf("is longer than %d bytes", maxExtraHeaderName)
	case reserved(strings.ToLower(name)):
		return "is set by this service or belongs to the connection"
	case len(value) > maxExtraHeaderValue:
		return fmt.Sprintf("has a value longer than %d bytes", maxExtraHeaderValue)
	case !httpguts.ValidHeaderFieldValue(value) || strings.TrimSpace(value) != value:
		return "has a value with control characters or blanks around it"
	}
	return ""
}

func reserved(name string) bool {
	for _, prefix := range []string{"x-popsee-", "webhook-", "proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"content-type", "content-length", "content-encoding", "user-agent", "host", "date",
		HeaderTraceparent, HeaderTracestate,
		"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
		// The receiver would be asked for an answer before the body, or for part of one.
		"expect", "range",
		// net/http re-sends a POST that carries one of these after a failed read: a second delivery nobody counted.
		"idempotency-key", "x-idempotency-key",
	}, name)
}
