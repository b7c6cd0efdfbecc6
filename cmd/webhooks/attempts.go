package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

type attemptsCommand struct {
	connection `embed:""`
	Survey     string `name:"survey" placeholder:"ID" help:"Only this survey's; the search is 64 times shorter with it."`
	Response   string `name:"response" placeholder:"ID" help:"Only attempts of this response."`
	Replay     string `name:"replay" placeholder:"ID" help:"Only attempts of this replay."`
	Reason     reason `name:"reason" placeholder:"REASON" help:"Only attempts that ended so, such as timeout or 5xx."`
	Failed     bool   `name:"failed" help:"Only attempts that were not delivered."`
	Since      when   `name:"since" placeholder:"TIME" help:"Only since: a time, or a duration ago such as 2h."`
	Until      when   `name:"until" placeholder:"TIME" help:"Only before."`
	Limit      int    `name:"limit" placeholder:"N" help:"At most so many."`
	Follow     bool   `name:"follow" short:"f" help:"Go on with new ones until interrupted."`
	All        bool   `name:"all" help:"Also show what was settled without an attempt, and what the log lost."`
	JSON       bool   `name:"json" help:"Print JSON, one record a line."`
}

// reason is how an attempt ended, as it is typed.
type reason delivery.Reason

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (r *reason) UnmarshalText(text []byte) error {
	*r = reason(text)
	var known []string
	for _, k := range delivery.Reasons() {
		known = append(known, string(k))
	}
	return config.OneOf(string(text), known)
}

// Run prints the delivery log.
func (c *attemptsCommand) Run(w *world) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	read := deliverylog.Read
	if c.Follow {
		read = deliverylog.Follow
	}
	n := 0
	for r, err := range read(w.ctx, s.js, s.names, f) {
		if errors.As(err, new(*deliverylog.Unreadable)) {
			fmt.Fprintf(w.errw, "%s\n", err)
			continue
		}
		if err != nil {
			return err
		}
		n++
		if c.JSON {
			if err := w.printJSON(r); err != nil {
				return err
			}
			continue
		}
		w.printf("%s\n", recordLine(r))
	}
	if n == 0 && !c.JSON && !c.Follow {
		w.printf("no attempts match%s\n", c.elsewhere())
	}
	return nil
}

// elsewhere says where to look when there is nothing here.
func (c *attemptsCommand) elsewhere() string {
	switch {
	case c.Response != "":
		return "; where it is: webhooks why " + c.Response
	case c.Survey != "":
		return "; where its responses go, and whether they wait: webhooks endpoint get " + c.Survey
	default:
		return ""
	}
}

func (c *attemptsCommand) filter() (deliverylog.Filter, error) {
	f := deliverylog.Filter{
		EventID: c.Response, Replay: c.Replay, Reason: delivery.Reason(c.Reason), Failed: c.Failed, Since: c.Since.Time, Until: c.Until.Time, Limit: c.Limit,
	}
	if !c.All {
		f.Kinds = []deliverylog.Kind{deliverylog.KindAttempt}
	}
	if c.Survey != "" {
		survey, err := events.ParseSurvey(c.Survey)
		if err != nil {
			return f, usage{err}
		}
		f.Survey = survey
	}
	return f, between(c.Since, c.Until)
}

// recordLine is one record for a person.
func recordLine(r deliverylog.Record) string {
	at := r.At.UTC().Format("2006-01-02 15:04:05.000")
	switch r.Kind {
	case deliverylog.KindAttempt:
		line := fmt.Sprintf("%s  %s  %s  try %d: %s (%s, %s)", at, r.Survey, r.EventID, r.Number, r.Verdict, endOf(r), r.Took.Round(time.Millisecond))
		if r.Detail != "" {
			line += ": " + r.Detail
		}
		return line
	case deliverylog.KindDropped:
		return fmt.Sprintf("%s  the log itself lost %d records of sequences %d to %d", at, r.Records, r.Source(), lastOf(r))
	default:
		return fmt.Sprintf("%s  %s  %s: %d events, sequences %d to %d", at, r.Survey, r.Kind, countOf(r), r.Source(), lastOf(r))
	}
}

// endOf is how an attempt ended: its status, or why there was none.
func endOf(r deliverylog.Record) string {
	if r.Status != 0 {
		return fmt.Sprint("status ", r.Status)
	}
	return string(r.Reason)
}

func countOf(r deliverylog.Record) (n uint64) {
	for _, run := range r.Runs {
		n += run.Len()
	}
	return n
}

func lastOf(r deliverylog.Record) uint64 {
	if len(r.Runs) == 0 {
		return 0
	}
	return r.Runs[len(r.Runs)-1].To
}
