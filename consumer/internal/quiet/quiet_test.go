package quiet

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestEachKindOfTroubleIsToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		l := New(zerolog.New(&said))
		wants := func(lines int, last string) {
			t.Helper()
			all := strings.Split(strings.TrimSpace(said.String()), "\n")
			if len(all) != lines || !strings.Contains(all[len(all)-1], last) {
				t.Errorf("%d lines, want %d and at last %q:\n%s", len(all), lines, last, said.String())
			}
		}
		for range 10_000 {
			l.Warn(errors.New("no responders"), "an event could not be parked")
		}
		wants(1, `"error":"no responders","untold":0,"message":"an event could not be parked"`)
		l.Warn(errors.New("no responders"), "a dead letter could not be stored")
		wants(2, "dead letter")
		time.Sleep(Every - time.Nanosecond)
		l.Warn(errors.New("no responders"), "an event could not be parked")
		wants(2, "dead letter")
		time.Sleep(time.Nanosecond)
		l.Warn(errors.New("no responders"), "an event could not be parked")
		wants(3, `"untold":10000`)
	})
}
