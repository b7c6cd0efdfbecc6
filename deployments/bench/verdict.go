package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// What is asked, besides each scenario's own limit on the healthy p99.
const (
	mostRequests = 8 + 5 // to one failing endpoint in 30 s: the budget it starts with, and five
	leastBacklog = 0.95  // of the rate where all are healthy
)

// row is one line of the table: the medians of a scenario's rounds, and the worst
// of what must not happen at all.
type row struct {
	Scenario, Consumer string
	Rounds             int
	Published          int // healthy events that count, all rounds together
	Delivered          int
	Parked             int
	P50, P99, Max      float64
	Rate               float64 // of a backlog
	Ratio              float64 // of the p99 to that of the quiet row, or of a backlog to its healthy stretches; 0: there is nothing to compare with
	FailingMost        int
	FailingWindow      int
	Lag                float64
	Cores, NATS, RSS   float64
	Machine            float64  // the most of any round
	Faults             []string // what was asked and is not so; the plain consumer is asked nothing
}

// rows sums the outcomes up, in the order in which they came first.
func (c *isolationCommand) rows(all []outcome) []row {
	var rows []row
	for _, o := range all {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.Scenario == o.Scenario && r.Consumer == o.Consumer }) {
			rows = append(rows, rowOf(o.Scenario, o.Consumer, all))
		}
	}
	limits := map[string]scenario{}
	for _, s := range c.chosen() {
		limits[s.Name] = s
	}
	for i := range rows {
		s := limits[rows[i].Scenario]
		rows[i].compare(s, rows)
		rows[i].Faults = rows[i].judge(s)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(groupOf(a), groupOf(b)) })
	return rows
}

// groupOf keeps the quiet runs together, at the top.
func groupOf(r row) int {
	if r.Ratio == 0 && r.Consumer == "service" {
		return 0
	}
	return 1
}

func rowOf(name, consumer string, all []outcome) row {
	r := row{Scenario: name, Consumer: consumer}
	var mine []outcome
	for _, o := range all {
		if o.Scenario == name && o.Consumer == consumer {
			mine = append(mine, o)
			r.Published, r.Delivered = r.Published+o.Publication.Healthy, r.Delivered+o.Arrivals.Healthy
			r.Parked = max(r.Parked, o.Parked.Counted)
			r.FailingMost, r.FailingWindow = max(r.FailingMost, o.Arrivals.FailingMost), max(r.FailingWindow, o.Window)
			r.Lag, r.Machine = max(r.Lag, o.Lag), max(r.Machine, o.Machine)
		}
	}
	r.Rounds = len(mine)
	of := func(f func(o outcome) float64) float64 { return median(mine, f) }
	r.P50, r.P99, r.Max = of(func(o outcome) float64 { return o.Arrivals.P50 }), of(func(o outcome) float64 { return o.Arrivals.P99 }), of(func(o outcome) float64 { return o.Arrivals.Max })
	r.Cores, r.NATS, r.RSS = of(func(o outcome) float64 { return o.Cores }), of(func(o outcome) float64 { return o.NATS }), of(func(o outcome) float64 { return o.RSS })
	r.Rate = of(outcome.rate)
	if name == "backlog" && consumer == "service" {
		r.Ratio = of(func(o outcome) float64 { return besideHealthy(o.Arrivals.Stretches) })
	}
	return r
}

// compare compares the median p99 of a scenario that has a limit with that of all quiet runs
// with as many surveys. The quiet run right before says less: it may have half of the p99, or twice,
// of the same with another run before it.
func (r *row) compare(s scenario, rows []row) {
	if r.Consumer != "service" || s.Limit == 0 {
		return
	}
	i := slices.IndexFunc(rows, func(q row) bool { return q.Scenario == s.quiet().Name && q.Consumer == r.Consumer })
	if i >= 0 && rows[i].P99 > 0 {
		r.Ratio = r.P99 / rows[i].P99
	}
}

func isBacklog(name string) bool { return name == "backlog" || name == "quiet backlog" }

func median[T any](all []T, f func(one T) float64) float64 {
	var values []float64
	for _, one := range all {
		values = append(values, f(one))
	}
	return middle(values)
}

// middle is the median: of an even number, what lies between the middle two. Of none it is 0.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted, half := slices.Sorted(slices.Values(values)), len(values)/2
	if len(values)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}

// judge says what was asked of the service and is not so.
func (r row) judge(s scenario) (faults []string) {
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	if r.Consumer != "service" {
		return nil
	}
	fault(r.Delivered < r.Published, "%d healthy events missing", r.Published-r.Delivered)
	fault(r.Parked > 0 && !isBacklog(r.Scenario), "%d healthy events parked", r.Parked)
	fault(s.Limit > 0 && r.Ratio > s.Limit, "p99 %.2f × quiet, at most %.1f is allowed", r.Ratio, s.Limit)
	fault(r.FailingMost > mostRequests, "%d requests to one failing endpoint in 30 s, at most %d are allowed", r.FailingMost, mostRequests)
	fault(r.Scenario == "backlog" && r.Ratio < leastBacklog, "%.3f of the healthy rate, at least %.2f is asked", r.Ratio, leastBacklog)
	return faults
}

// verdictOf is an error that lists every fault.
func verdictOf(rows []row) error {
	var errs []error
	for _, r := range rows {
		for _, f := range r.Faults {
			errs = append(errs, fmt.Errorf("%s: %s", r.Scenario, f))
		}
	}
	return errors.Join(errs...)
}
