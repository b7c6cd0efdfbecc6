package main

import (
	"fmt"

	"github.com/popsee/webhooks/events"
)

// How many surveys there are of each kind. Three in ten of those with a webhook
// fail at any moment.
const (
	steadies   = 100 // always answer 200
	flappers   = 80  // half of them answer 500, and with the next fault the other half
	hangers    = 10  // do not answer at all
	busies     = 8   // answer 503
	leavers    = 2   // answer 410
	strangers  = 5   // have no webhook
	surveys    = steadies + flappers + hangers + busies + leavers + strangers
	withOne    = surveys - strangers
	firstFlap  = steadies
	firstHang  = firstFlap + flappers
	firstBusy  = firstHang + hangers
	firstLeave = firstBusy + busies
)

// kind is how a survey's endpoint behaves.
type kind uint8

const (
	steady kind = iota
	flapping
	hanging
	busy
	leaving
	stranger
)

func kindOf(survey int) kind {
	switch {
	case survey < firstFlap:
		return steady
	case survey < firstHang:
		return flapping
	case survey < firstBusy:
		return hanging
	case survey < firstLeave:
		return busy
	case survey < withOne:
		return leaving
	default:
		return stranger
	}
}

func surveyID(i int) events.Survey { return events.Survey(fmt.Sprintf("s%03d", i)) }
