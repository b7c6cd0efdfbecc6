package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// head is what was run, on what; numbers say nothing without it.
func (c *isolationCommand) head() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s; everything on this one machine. NATS sync_interval %s, file store, R1. %d events/s of about 1 KB; %s warm-up, %s measured, medians of %d rounds (the plain consumer: one round).",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), c.Sync, c.Rate, c.Warm, c.Measure, c.Rounds)
}

// tableOf lays the rows out.
func tableOf(rows []row) table.Writer {
	t := table.NewWriter()
	t.AppendHeader(table.Row{
		"scenario", "consumer", "healthy delivered", "parked", "p50 ms", "p99 ms", "max ms", "against quiet",
		"requests to failing (in the window)", "most to one in 30 s", "CPU", "NATS CPU", "machine CPU", "RSS MiB", "most lag", "verdict",
	})
	for _, r := range rows {
		t.AppendRow(table.Row{
			r.Scenario, r.Consumer, delivered(r), r.Parked, decimals(r.P50), decimals(r.P99), decimals(r.Max), against(r),
			r.FailingWindow, r.FailingMost, decimals(r.Cores), decimals(r.NATS), decimals(r.Machine), decimals(r.RSS), r.Lag, verdict(r),
		})
	}
	return t
}

func delivered(r row) string {
	if isBacklog(r.Scenario) {
		return fmt.Sprintf("%s, %.0f/s", percent(r.Delivered, r.Published), r.Rate)
	}
	return percent(r.Delivered, r.Published)
}

func percent(n, of int) string {
	if n == of {
		return fmt.Sprintf("100 %% of %d", of)
	}
	return fmt.Sprintf("%.2f %% of %d", 100*float64(n)/float64(max(of, 1)), of)
}

func decimals(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func against(r row) string {
	if r.Ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func verdict(r row) string {
	switch {
	case r.Consumer != "service":
		return "–"
	case len(r.Faults) == 0:
		return "met"
	default:
		return strings.Join(r.Faults, "; ")
	}
}

func printTable(out io.Writer, head string, rows []row) {
	fmt.Fprintf(out, "%s\n%s\n", head, tableOf(rows).Render())
}

func markdown(head string, rows []row) []byte {
	return []byte(head + "\n\n" + tableOf(rows).RenderMarkdown() + "\n")
}

// brief is one run in one line.
func (o outcome) brief() string {
	s := fmt.Sprintf("%-14s %-7s round %d: healthy %s", o.Scenario, o.Consumer, o.Round+1, percent(o.Arrivals.Healthy, o.Publication.Healthy))
	if isBacklog(o.Scenario) {
		s += fmt.Sprintf(", %.0f/s, %.3f of its healthy stretches", o.rate(), besideHealthy(o.Arrivals.Stretches))
	} else {
		s += fmt.Sprintf(", p50 %.2f ms, p99 %.2f ms, max %.0f ms", o.Arrivals.P50, o.Arrivals.P99, o.Arrivals.Max)
	}
	if o.Arrivals.FailingRequests > 0 {
		s += fmt.Sprintf("; failing: %d requests, %d in the window, at most %d to one in 30 s", o.Arrivals.FailingRequests, o.Window, o.Arrivals.FailingMost)
	}
	if o.Parked != (parked{}) {
		s += fmt.Sprintf("; healthy parked %d, in the warm-up %d, still in lanes %d, unsure %d", o.Parked.Counted, o.Parked.Warm, o.Parked.InLanes, o.Parked.Unsure)
	}
	if p := o.Publication; p.Acked != p.Published || !p.InOrder || p.Late > 0.05 {
		s += fmt.Sprintf("; publisher: %d of %d confirmed, in order %v, %.2f s late", p.Acked, p.Published, p.InOrder, p.Late)
	}
	if o.Arrivals.Duplicates > 0 {
		s += fmt.Sprintf("; %d duplicates", o.Arrivals.Duplicates)
	}
	s += fmt.Sprintf("; CPU %.2f, NATS %.2f, machine %.2f, RSS %.0f MiB", o.Cores, o.NATS, o.Machine, o.RSS)
	return s + complaints(o.Said)
}

func complaints(said map[string]int) string {
	var b strings.Builder
	for text, n := range said {
		fmt.Fprintf(&b, "\n    said %d times: %s", n, text)
	}
	return b.String()
}
