// Package moments reads moments as people write them.
package moments

import (
	"fmt"
	"time"
)

// Parse reads a duration ago, a time or a date; local is where one is that does not
// say.
func Parse(text string, now time.Time, local *time.Location) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 {
			return time.Time{}, fmt.Errorf("%s lies in the future: give a duration ago, such as 2h", text)
		}
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: use 2h (ago), 2026-01-31, 2026-01-31T12:00:00 (%s) or 2026-01-31T12:00:00Z", text, zone(local))
}

func zone(l *time.Location) string {
	if l == time.UTC {
		return "UTC"
	}
	return "local"
}
