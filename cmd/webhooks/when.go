package main

import (
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/moments"
)

// when is a moment given on the command line: a time, a date, or a duration ago.
type when struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (m *when) UnmarshalText(text []byte) error {
	var err error
	m.Time, err = moments.Parse(string(text), time.Now(), time.Local)
	return err
}

// between checks that a range of time has something in it.
func between(since, until when) error {
	if !since.IsZero() && !until.IsZero() && !since.Before(until.Time) {
		return usage{withHint("--since is the earlier one", "--until %s is not after --since %s", until.Format(time.RFC3339), since.Format(time.RFC3339))}
	}
	return nil
}
