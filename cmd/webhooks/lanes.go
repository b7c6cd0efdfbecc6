package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/lanes"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/events"
)

type lanesCommand struct {
	connection `embed:""`
	Survey     string `name:"survey" placeholder:"ID" help:"Only this survey's lane."`
	Limit      int    `name:"limit" placeholder:"N" help:"At most so many lanes, those that wait longest."`
	JSON       bool   `name:"json" help:"Print JSON, one lane a line."`
}

// Run shows what waits where and why, oldest first.
func (c *lanesCommand) Run(w *world) error {
	var survey events.Survey
	if c.Survey != "" {
		var err error
		if survey, err = events.ParseSurvey(c.Survey); err != nil {
			return usage{err}
		}
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	rows, err := s.lanes(w, survey)
	if err != nil {
		return err
	}
	all := len(rows)
	if c.Limit > 0 && all > c.Limit {
		rows = rows[:c.Limit]
	}
	if err := s.lookUp(w.ctx, rows); err != nil {
		return err
	}
	if c.JSON {
		return printEach(w, rows)
	}
	printLanes(w, rows, all, time.Now())
	return nil
}

func printEach[T any](w *world, rows []T) error {
	for _, row := range rows {
		if err := w.printJSON(row); err != nil {
			return err
		}
	}
	return nil
}

// laneState is what a lane does.
type laneState string

// The states of a lane, as they are shown.
const (
	laneDraining laneState = "draining"     // its events are sent as they become due
	laneProbing  laneState = "probing"      // its endpoint fails; one event at a time is tried
	laneDisabled laneState = "disabled"     // nothing is sent until somebody enables the endpoint
	laneOff      laneState = "switched off" // likewise: its owner's doing
	laneUnusable laneState = "unusable"     // likewise: the endpoint is not valid
	laneRemoved  laneState = "no endpoint"  // its events become dead letters
	laneOwed     laneState = "owed"         // nothing waits here, but events are brought from the event stream
)

// laneRow is one lane as it is shown.
type laneRow struct {
	Survey    events.Survey `json:"survey"`
	Shard     int           `json:"shard"`
	Owner     string        `json:"owner,omitempty"` // the replica that works on it; empty: none
	Events    int           `json:"waiting_events"`
	Bytes     int64         `json:"waiting_bytes"`
	Foreign   int           `json:"unreadable_events,omitempty"` // of them another version's
	Oldest    time.Time     `json:"oldest_published,omitzero"`
	State     laneState     `json:"state"`
	Reason    string        `json:"reason,omitempty"`
	Since     time.Time     `json:"failing_since,omitzero"`
	NextProbe time.Time     `json:"next_probe,omitzero"`
	OwedFrom  uint64        `json:"owed_from,omitempty"`
}

// lanes counts what waits and joins what is known of the endpoints.
func (s *session) lanes(w *world, survey events.Survey) ([]laneRow, error) {
	unwell, err := s.unwell(w.ctx)
	if err != nil {
		return nil, err
	}
	picture, err := leases.Look(w.ctx, s.js, s.names)
	if err != nil {
		return nil, err
	}
	bar := w.newProgress("counting")
	tallies, err := lanes.Census(w.ctx, s.js, s.names, survey, bar.step)
	bar.end()
	if err != nil {
		return nil, err
	}
	for known := range unwell {
		if tallies[known] == nil && (survey == "" || known == survey) {
			tallies[known] = &lanes.Tally{Survey: known}
		}
	}
	var rows []laneRow
	for _, t := range tallies {
		if row := rowOf(*t, unwell[t.Survey]); row.State != "" {
			row.Shard = s.names.Shard(t.Survey)
			row.Owner = picture.Holders[row.Shard].Replica
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, waitsLonger)
	return rows, nil
}

// rowOf is a lane by what waits in it and what is known of its endpoint. It has no
// state when there is nothing to show.
func rowOf(t lanes.Tally, r health.Record) laneRow {
	row := laneRow{
		Survey: t.Survey, Events: t.Events, Bytes: t.Bytes, Foreign: t.Foreign, Oldest: t.Oldest.Published, Reason: t.Oldest.Reason,
		Since: r.Since, NextProbe: r.NextProbe, OwedFrom: r.OwedFrom,
	}
	switch {
	case r.Disabled != nil:
		row.State, row.Reason = laneDisabled, r.Disabled.Why
	case r.Failing():
		row.State, row.Reason = laneProbing, r.Reason
	case t.Events > 0:
		row.State = laneDraining
	case r.OwedFrom != 0:
		row.State = laneOwed
	}
	return row
}

// waitsLonger orders lanes by their oldest event; those in which nothing waits
// come last, by how long their endpoint has failed.
func waitsLonger(a, b laneRow) int {
	return cmp.Or(
		cmp.Compare(min(b.Events, 1), min(a.Events, 1)),
		a.Oldest.Compare(b.Oldest), a.Since.Compare(b.Since), cmp.Compare(a.Survey, b.Survey),
	)
}

// lookUp asks for the endpoints of lanes that seem to drain: their owner may have
// switched them off, or removed them.
func (s *session) lookUp(ctx context.Context, rows []laneRow) error {
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	editor := config.NewEditor(kv, endpoints.Lenient())
	for i := range rows {
		row := &rows[i]
		if row.State != laneDraining && row.State != laneProbing {
			continue
		}
		ep, err := editor.Get(ctx, row.Survey)
		switch {
		case errors.Is(err, config.ErrNoEndpoint):
			row.State, row.Reason = laneRemoved, "its events become dead letters"
		case errors.Is(err, config.ErrInvalidEndpoint):
			row.State, row.Reason = laneUnusable, err.Error()
		case err != nil:
			return err
		case !ep.Enabled:
			row.State, row.Reason = laneOff, "by its owner"
		}
	}
	return nil
}

func printLanes(w *world, rows []laneRow, all int, now time.Time) {
	if len(rows) == 0 {
		w.printf("nothing waits, and no endpoint is known to fail\n")
		return
	}
	t := w.newTable("SURVEY", "WAITING", "BYTES", "OLDEST", "STATE", "WHY", "NEXT PROBE", "OWED FROM", "SHARD", "OWNER")
	for _, r := range rows {
		t.AppendRow([]any{
			r.Survey, r.Events, config.Bytes(r.Bytes), age(r.Oldest, now), r.State, r.why(now), r.probe(now), optional(r.OwedFrom), fmt.Sprintf("%02d", r.Shard),
			cmp.Or(r.Owner, "nobody"),
		})
	}
	t.Render()
	if len(rows) < all {
		w.printf("and %s more\n", count(all-len(rows), "lane"))
	}
}

func (r laneRow) why(now time.Time) string {
	why := r.Reason
	if !r.Since.IsZero() && r.State == laneProbing {
		why += ", fails since " + spoken(now.Sub(r.Since))
	}
	if r.Foreign > 0 {
		why += fmt.Sprintf(" (%d parked by another version)", r.Foreign)
	}
	return why
}

func (r laneRow) probe(now time.Time) string {
	switch {
	case r.State != laneProbing || r.NextProbe.IsZero():
		return ""
	case !r.NextProbe.After(now):
		return "now"
	default:
		return "in " + spoken(r.NextProbe.Sub(now))
	}
}

// age is how old something is; empty when it is not there.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return spoken(now.Sub(t))
}

func optional(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
