package main

import (
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
)

// point is a place in the event stream as given on the command line.
type point struct{ replays.Point }

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (p *point) UnmarshalText(text []byte) (err error) {
	p.Point, err = replays.ParsePoint("", string(text), time.Now(), time.Local)
	return err
}

// called is the point with the flag's name.
func (p point) called(flag string) replays.Point {
	p.Name = flag
	return p.Point
}
