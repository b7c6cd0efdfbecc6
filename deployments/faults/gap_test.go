package main

import (
	"math"
	"testing"
	"time"
)

// story is a deployment second by second: from its beginning an event of a healthy
// endpoint is published every 100 ms.
type story struct {
	events []event
	began  time.Time
}

func tell() *story { return &story{began: time.Now()} }

func (s *story) at(seconds float64) time.Time {
	return s.began.Add(time.Duration(seconds * float64(time.Second)))
}

// publish publishes from one second to another; each event is delivered after a while,
// or never, when that is negative.
func (s *story) publish(survey int, from, to, after float64) *story {
	for at := from; at < to-0.001; at += 0.1 {
		e := event{survey: survey, made: s.at(at), acked: s.at(at), seq: uint64(len(s.events) + 1)}
		if after >= 0 {
			e.first = s.at(at + after)
		}
		s.events = append(s.events, e)
	}
	return s
}

func TestTheWorstGapIsHowLongNothingWasDeliveredWhileNATSAcknowledged(t *testing.T) {
	const healthy, failing = 0, firstHang
	for name, c := range map[string]struct {
		s    *story
		want float64
	}{
		"all goes well":                             {tell().publish(healthy, 0, 30, 0.05), 0.05},
		"nothing is delivered at all":               {tell().publish(healthy, 0, 30, -1), 30},
		"nothing for a while, then all":             {tell().publish(healthy, 0, 5, 0.05).publish(healthy, 5, 6, 12).publish(healthy, 6, 30, 15), 12},
		"some, in the hands of a dead replica":      {tell().publish(healthy, 0, 30, 0.05).publish(healthy, 5, 6, 20), 0.05},
		"what was owed before was delivered early":  {tell().publish(healthy, 0, 10, 0), 0},
		"NATS is away, and back":                    {tell().publish(healthy, 0, 5, 0.05).publish(healthy, 4.97, 5, -1).publish(healthy, 20, 30, 4), 4},
		"NATS is away while something is delivered": {tell().publish(healthy, 0, 5, 9).publish(healthy, 20, 30, 0.05), 4.9},
		"NATS is away in the end":                   {tell().publish(healthy, 0, 5, 0.05).publish(healthy, 5, 6, -1), 0.9},
		"failing endpoints alone":                   {tell().publish(failing, 0, 30, -1), 0},
		"failing endpoints keep the time running":   {tell().publish(healthy, 0, 0.1, -1).publish(failing, 0, 30, -1), 30},
		"failing endpoints, delivered":              {tell().publish(failing, 0, 30, 0.05).publish(healthy, 10, 30, -1), 20},
	} {
		t.Run(name, func(t *testing.T) {
			got := worstGap(c.s.events, stretch{c.s.began, c.s.at(30)}).Seconds()
			if math.Abs(got-c.want) > 0.01 {
				t.Errorf("got %.2f s, want %.2f s", got, c.want)
			}
		})
	}
}

func TestTheRateLeavesOutagesOutAndMissesWhatWasSkipped(t *testing.T) {
	refused := tell().publish(0, 0, 30, 0)
	for i := range refused.events[:150] {
		refused.events[2*i].seq = 0
	}
	late := tell().publish(0, 0, 10, 0).publish(0, 20, 30, 0)
	for i := range 100 { // published while NATS was away, acknowledged when it was back
		late.events = append(late.events, event{made: late.at(10 + float64(i)/10), acked: late.at(20), seq: 1})
	}
	for name, c := range map[string]struct {
		s    *story
		want float64
	}{
		"all goes well":             {tell().publish(0, 0, 30, 0), 10},
		"an outage":                 {tell().publish(0, 0, 10, 0).publish(0, 20, 30, 0), 10},
		"what an outage held up":    {late, 10},
		"half of it was skipped":    {refused, 5},
		"an outage in the end":      {tell().publish(0, 0, 10, 0), 10},
		"an outage from the start":  {tell().publish(0, 25, 30, 0), 10},
		"nothing was acknowledged":  {tell(), 0},
		"a second is not an outage": {tell().publish(0, 0, 15, 0).publish(0, 15.8, 30, 0), 9.7},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rate(c.s.events, stretch{c.s.began, c.s.at(30)}); math.Abs(got-c.want) > 0.25 {
				t.Errorf("got %.2f a second, want %.2f", got, c.want)
			}
		})
	}
}
