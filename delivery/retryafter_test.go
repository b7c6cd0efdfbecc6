package delivery

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, v := range map[string]struct {
		status int
		value  string
		want   time.Duration
	}{
		"seconds on 429":         {429, "120", 2 * time.Minute},
		"seconds on 503":         {503, "120", 2 * time.Minute},
		"seconds on 500":         {500, "120", 0},
		"seconds on 301":         {301, "120", 0},
		"blanks around":          {429, " 5 ", 5 * time.Second},
		"nothing":                {429, "", 0},
		"none to wait":           {429, "0", 0},
		"leading zeros":          {429, "0007", 7 * time.Second},
		"an hour":                {429, "3600", time.Hour},
		"more than an hour":      {429, "3601", time.Hour},
		"ten years":              {429, "315360000", time.Hour},
		"more than an int holds": {429, strings.Repeat("9", 60), time.Hour},
		"a very long number":     {429, strings.Repeat("9", 65), 0},
		"negative":               {429, "-5", 0},
		"signed":                 {429, "+5", 0},
		"a fraction":             {429, "1.5", 0},
		"text":                   {429, "soon", 0},
		"a duration":             {429, "5s", 0},
		"digits of elsewhere":    {429, "٥", 0},
		"a date":                 {503, date(90 * time.Second), 90 * time.Second},
		"a date in the past":     {503, date(-time.Minute), 0},
		"a date now":             {503, date(0), 0},
		"a date in ten years":    {503, date(87600 * time.Hour), time.Hour},
		"an RFC 850 date":        {503, "Monday, 22-Jan-24 12:00:30 GMT", 30 * time.Second},
		"an asctime date":        {503, "Mon Jan 22 12:00:30 2024", 30 * time.Second},
		"no real date":           {503, "Mon, 99 Jan 2024 12:00:30 GMT", 0},
	} {
		if got := retryAfter(v.status, v.value, now); got != v.want {
			t.Errorf("%s: got %s, want %s", name, got, v.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "315360000", "99999999999999999999", "Mon, 22 Jan 2024 12:00:30 GMT", "soon", "1e9"} {
		f.Add(seed)
	}
	now := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(http.StatusServiceUnavailable, value, now); got < 0 || got > time.Hour {
			t.Errorf("%q: got %s, want from nothing to an hour", value, got)
		}
		if got := retryAfter(http.StatusInternalServerError, value, now); got != 0 {
			t.Errorf("%q on a 500: got %s, want nothing", value, got)
		}
	})
}
