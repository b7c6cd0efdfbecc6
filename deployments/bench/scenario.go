package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/popsee/webhooks/events"
)

// kind is how an endpoint behaves.
type kind uint8

const (
	healthy kind = iota // answers 200, at once unless the scenario has a latency
	hanging             // accepts and never answers
	failing             // answers 500 at once
)

// healthyHosts is how many hosts the healthy endpoints share.
const healthyHosts = 100

// scenario is what is published and how the endpoints behave. The first Hanging
// surveys hang, the next Failing answer 500, the others are healthy. The runner
// hands it to its processes as a file.
type scenario struct {
	Name     string
	Surveys  int
	Hanging  int
	Failing  int
	OneHost  bool    // those that hang or fail are all on one host; otherwise each failing one is on its own
	Loud     int     // the last survey gets so many times as much as each other; 0 means as much
	Limit    float64 // the healthy p99 may be so many times the quiet one
	OwnHosts bool    // every survey is on an address of its own
	InTurn   bool    // one survey after the other gets an event; otherwise at random
	TLS      string  // what the receivers speak: http1 or http2; else plain HTTP
	Backlog  bool    // not paced: everything is there before the consumer starts
	Stretch  int     // every other so many events are for healthy endpoints alone; 0: none are chosen

	Latency time.Duration // what a healthy endpoint takes to answer; 0: it answers at once

	// Chosen on the command line.
	Rate    int           // events a second
	Warm    time.Duration // not counted
	Measure time.Duration
	Events  int // of a backlog
}

// scenarios are those of the isolation table. Quiet ones have nothing that fails.
func scenarios() []scenario {
	return []scenario{
		{Name: "quiet", Surveys: 1000},
		{Name: "1+1", Surveys: 1000, Hanging: 10, Failing: 10, Limit: 1.2},
		{Name: "10hang", Surveys: 1000, Hanging: 100, Limit: 1.2},
		{Name: "99of100", Surveys: 100, Hanging: 99, Limit: 2},
		{Name: "loud", Surveys: 1000, Loud: 100, Limit: 2},
		{Name: "shared-host", Surveys: 10_000, Hanging: 3000, OneHost: true, Limit: 2},
		{Name: "own-hosts", Surveys: 10_000, Hanging: 1000, Limit: 2},
		{Name: "backlog", Surveys: 1000, Hanging: 10, Failing: 10, Backlog: true},
	}
}

// quiet is the scenario it is compared with: as many surveys, and nothing fails.
func (s scenario) quiet() scenario {
	s.Name, s.Hanging, s.Failing, s.Loud = fmt.Sprintf("quiet %d", s.Surveys), 0, 0, 0
	if s.Backlog {
		s.Name = "quiet backlog"
	}
	return s
}

func (s scenario) isQuiet() bool { return s.Hanging+s.Failing == 0 && s.Loud == 0 }

// total is how many events are published, and first the first that counts.
func (s scenario) total() int {
	if s.Backlog {
		return s.Events
	}
	return int(float64(s.Rate) * (s.Warm + s.Measure).Seconds())
}

func (s scenario) first() int {
	if s.Backlog {
		return 0
	}
	return int(float64(s.Rate) * s.Warm.Seconds())
}

func (s scenario) kind(survey int) kind {
	switch {
	case survey < s.Hanging:
		return hanging
	case survey < s.Hanging+s.Failing:
		return failing
	default:
		return healthy
	}
}

// hosts is how many the receiver opens; host says on which of them a survey is.
func (s scenario) hosts() int {
	switch {
	case s.OwnHosts:
		return s.Surveys
	case s.OneHost:
		return healthyHosts + 1
	}
	return healthyHosts + s.Hanging + s.Failing
}

func (s scenario) host(survey int) int {
	switch {
	case s.OwnHosts:
		return survey
	case s.kind(survey) == healthy:
		return survey % healthyHosts
	case s.OneHost:
		return healthyHosts
	default:
		return healthyHosts + survey
	}
}

// order yields the survey of the i-th event, one after the other: at random, because real
// events do not come in turn unless that is what is asked for, and the same for every run.
func (s scenario) order() func(i int) int {
	if s.InTurn {
		return func(i int) int { return i % s.Surveys }
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it is to be the same each time
	extra := max(s.Loud-1, 0)
	next := func() int { return min(r.IntN(s.Surveys+extra), s.Surveys-1) }
	return func(i int) int {
		n := next()
		for s.allHealthy(i) && s.kind(n) != healthy {
			n = next()
		}
		return n
	}
}

// allHealthy says whether the i-th event stands in a stretch without failing endpoints.
func (s scenario) allHealthy(i int) bool { return s.Stretch > 0 && i/s.Stretch%2 == 1 }

// survey is the id of the i-th survey; surveyIndex the other way round.
func survey(i int) events.Survey { return events.Survey(fmt.Sprintf("s-%05d", i)) }

func surveyIndex(id string) (int, error) {
	if len(id) < 3 {
		return 0, fmt.Errorf("%q is none of our surveys", id)
	}
	return strconv.Atoi(id[2:])
}

func (s scenario) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func readScenario(path string) (s scenario, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}
