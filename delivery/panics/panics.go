// Package panics is what becomes of a panic, goroutine by goroutine.
//
// One that handles messages, requests or somebody's input survives, with the
// outcome that stands beside its [Place]: the panic is counted and told, and no
// event is lost. Where what a goroutine keeps in mind may be half written, it ends
// the process on purpose, which says so and is not 0: that is [PlaceRun], and every
// goroutine that has no place here.
//
// What a panic says may hold what the code had in hand, and a stack's arguments are
// what it had in hand. So both are left out: of a panic of the runtime its text is
// told, of any other its type; of the stack functions, files and lines.
package panics

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Place is where a panic was survived. It is a metric label.
type Place string

// The places, and what becomes of what they had in hand.
const (
	PlaceEvent     Place = "event"        // a dead letter with the stack
	PlaceParked    Place = "parked"       // the same
	PlaceSettle    Place = "settle"       // the event stays unacknowledged, and comes again
	PlacePull      Place = "pull"         // a pull's messages come again
	PlacePark      Place = "park"         // the events stay unacknowledged, and come again
	PlaceAck       Place = "ack"          // an acknowledgement is not sent; its event comes again, and is known to be settled
	PlaceKeep      Place = "keep"         // a loop of the live consumer begins anew: mark, progress, admission, counting, turns
	PlaceLane      Place = "lane"         // the shard is let go, and whoever takes it reads it anew
	PlaceTry       Place = "try"          // the lane is held for a moment; the event stays in it
	PlaceFeed      Place = "feed"         // what could not be read is left alone, or the lanes are read anew
	PlaceLeases    Place = "leases"       // the round is made again; what cannot be renewed lapses
	PlaceReplay    Place = "replay"       // the replay rests here until its record changes, five minutes at most
	PlaceHealth    Place = "health"       // the bucket is watched anew
	PlaceEndpoints Place = "endpoints"    // likewise; what is in memory stays
	PlaceChange    Place = "change"       // somebody does not hear of one change
	PlaceLog       Place = "delivery_log" // records count as lost
	PlaceDial      Place = "dial"         // the attempt fails, as one whose connection broke, and is made again
	PlaceAdmin     Place = "admin"        // the request is answered with 500
	PlaceMetrics   Place = "metrics"      // the value is not a number
	PlaceUpkeep    Place = "upkeep"       // what is done from time to time begins anew
	PlaceRun       Place = "run"          // the process ends, not with 0
)

// Places lists every place, for metrics.
func Places() []Place {
	return []Place{
		PlaceEvent, PlaceParked, PlaceSettle, PlacePull, PlacePark, PlaceAck, PlaceKeep, PlaceLane, PlaceTry, PlaceFeed, PlaceLeases,
		PlaceReplay, PlaceHealth, PlaceEndpoints, PlaceChange, PlaceLog, PlaceDial, PlaceAdmin, PlaceMetrics, PlaceUpkeep, PlaceRun,
	}
}

// Panic is one that was survived, fit to be logged, stored and shown.
type Panic struct {
	Place Place
	What  string // the text of a panic of the runtime; of any other its type
	Stack string // functions, files and lines, without arguments
}

// Error says what happened.
func (p *Panic) Error() string { return fmt.Sprintf("panic (%s): %s", p.Place, p.What) }

// again is the pause before a loop begins anew.
const again = time.Second

// Guard counts and tells of panics. A nil one survives them all the same.
type Guard struct {
	log     zerolog.Logger
	counted map[Place]prometheus.Counter
}

// New returns a guard that tells in a log, and counts in webhooks_panics_total.
func New(log zerolog.Logger, reg prometheus.Registerer) *Guard {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "webhooks", Name: "panics_total", Help: "Panics, by where; none of them cost an event.",
	}, []string{"place"})
	reg.MustRegister(all)
	g := &Guard{log: log, counted: map[Place]prometheus.Counter{}}
	for _, place := range Places() {
		g.counted[place] = all.WithLabelValues(string(place))
	}
	return g
}

// Catch ends a panic, and calls then with it, which may be nil. It must be deferred
// itself.
func (g *Guard) Catch(place Place, then func(*Panic)) {
	value := recover()
	if value == nil {
		return
	}
	p := &Panic{Place: place, What: what(value), Stack: stack()}
	g.tell(p)
	if then != nil {
		then(p)
	}
}

// Try calls f. The error is f's, or a [Panic].
func (g *Guard) Try(place Place, f func() error) (err error) {
	defer g.Catch(place, func(p *Panic) { err = p })
	return f()
}

// Do calls f and says whether it came to its end.
func (g *Guard) Do(place Place, f func()) bool {
	return g.Try(place, func() error { f(); return nil }) == nil
}

// Keep calls f until it returns, or ctx ends: after a panic it begins anew, a
// moment later.
func (g *Guard) Keep(ctx context.Context, place Place, f func()) {
	for !g.Do(place, f) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

func (g *Guard) tell(p *Panic) {
	if g == nil {
		return
	}
	g.counted[p.Place].Inc()
	g.log.Error().Str("place", string(p.Place)).Str("panic", p.What).Str("stack", p.Stack).Msg("panic survived; please report it with its stack")
}

// what is all that may be told of a panic's value.
func what(value any) string {
	if err, is := value.(error); is {
		if r, is := errors.AsType[runtime.Error](err); is {
			return strings.ToValidUTF8(r.Error(), "")
		}
	}
	return fmt.Sprintf("a %T, which may hold anything and is not shown", value)
}

const mostFrames = 64

// stack is where the panic came from.
func stack() string {
	var pcs [mostFrames]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	var lines strings.Builder
	for panicked := false; ; {
		f, more := frames.Next()
		if panicked && !strings.HasPrefix(f.Function, "runtime.") {
			fmt.Fprintf(&lines, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return lines.String()
		}
	}
}
