package delivery

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter keeps a receiver's mistake of years from being obeyed.
const maxRetryAfter = time.Hour

// retryAfter reads what a 429 or 503 asks for: whole seconds or an HTTP date. What is in the past, negative or neither
// asks for nothing.
func retryAfter(status int, value string, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	value = strings.TrimSpace(value)
	if value == "" || len(value) > 64 {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		return seconds(value)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// seconds reads digits without ever overflowing: it stops caring at an hour.
func seconds(digits string) time.Duration {
	total := time.Duration(0)
	for _, d := range []byte(digits) {
		total = total*10 + time.Duration(d-'0')*time.Second
		if total >= maxRetryAfter {
			return maxRetryAfter
		}
	}
	return total
}
