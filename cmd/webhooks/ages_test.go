package main

import (
	"testing"
	"time"
)

func TestSpokenDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                     "less than a second",
		-1500 * time.Millisecond:              "1 s",
		59*time.Second + 999*time.Millisecond: "59 s",
		time.Minute:                           "1 min",
		61 * time.Second:                      "1 min 1 s",
		time.Hour + 59*time.Second:            "1 h",
		23*time.Hour + 59*time.Minute:         "23 h 59 min",
		5*24*time.Hour + 3*time.Hour + time.Minute: "5 d 3 h",
	} {
		if got := spoken(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestMomentsSayHowFarTheyAre(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for got, want := range map[string]string{
		ago(now.Add(-time.Hour), now):     "2026-01-31T11:00:00Z (1 h ago)",
		ahead(now.Add(time.Minute), now):  "2026-01-31T12:01:00Z (in 1 min)",
		ahead(now.Add(-time.Minute), now): "2026-01-31T11:59:00Z (now due)",
		count(1, "event"):                 "1 event",
		count(uint64(2), "event"):         "2 events",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
