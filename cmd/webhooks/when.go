package main

import (
	"fmt"
	"time"
)

// when is a moment given on the command line: a time, a date, or a duration ago.
type when struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (m *when) UnmarshalText(text []byte) error {
	s := string(text)
	if d, err := time.ParseDuration(s); err == nil {
		if d < 0 {
			return fmt.Errorf("%s lies in the future: give a duration ago, such as 2h", s)
		}
		m.Time = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			m.Time = t
			return nil
		}
	}
	return fmt.Errorf("%q is not a time: use 2h (ago), 2026-01-31, 2026-01-31T12:00:00 (local) or 2026-01-31T12:00:00Z", s)
}

// between checks that a range of time has something in it.
func between(since, until when) error {
	if !since.IsZero() && !until.IsZero() && !since.Before(until.Time) {
		return usage{withHint("--since is the earlier one", "--until %s is not after --since %s", until.Format(time.RFC3339), since.Format(time.RFC3339))}
	}
	return nil
}
