package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// rehearsal is what a replay would do, as things stand.
type rehearsal struct {
	Start     uint64 `json:"start"`
	End       uint64 `json:"end"`
	Response  string `json:"response,omitempty"`
	Events    uint64 `json:"events"`     // of the surveys asked for; the four that follow add up to it
	Sent      uint64 `json:"sent"`       // that would be delivered, if their endpoints accept them
	Parked    uint64 `json:"parked"`     // that would wait in their lanes: their endpoints fail, are disabled or cannot be used
	Owed      uint64 `json:"owed"`       // that would be let go: their lanes bring them as it is
	NoWebhook uint64 `json:"no_webhook"` // that would be passed over: their surveys have none
	Endpoints int    `json:"endpoints"`  // that would be sent to
	NoEvents  uint64 `json:"not_events"` // that cannot be read: dead letters

	estimate
	Surveys []surveyRehearsal `json:"surveys"` // the one with the most events first
}

// surveyRehearsal is what it would do for one survey.
type surveyRehearsal struct {
	Survey  events.Survey  `json:"survey"`
	Events  uint64         `json:"events"`
	Host    string         `json:"host,omitempty"` // of its endpoint; empty when it has none
	State   string         `json:"state"`
	Outcome replay.Outcome `json:"outcome"`                   // what would become of its events, but for those that are owed
	Owed    uint64         `json:"owed,omitempty"`            // of them
	Limit   float64        `json:"rate_per_second,omitempty"` // that its owner allows
}

// words are the outcome for people.
func (r surveyRehearsal) words() string {
	switch r.Owed {
	case 0:
		return string(r.Outcome)
	case r.Events:
		return string(replay.Owed)
	default:
		return fmt.Sprintf("%s, %d owed", r.Outcome, r.Owed)
	}
}

// rehearse counts what a replay would send, and to whom.
func (s *session) rehearse(w *world, r replay.Record, asJSON bool) error {
	unwell, err := s.unwell(w.ctx)
	if err != nil {
		return err
	}
	counts, bad, err := s.countSurveys(w, r, unwell)
	if err != nil {
		return err
	}
	v := rehearsal{Start: r.Start, End: r.End, Response: r.Response, NoEvents: bad, Surveys: []surveyRehearsal{}}
	if err := s.ends(w, &v, counts, unwell); err != nil {
		return err
	}
	if v.estimate, err = s.estimate(w, r); err != nil {
		return err
	}
	if asJSON {
		return w.printJSON(v)
	}
	v.print(w)
	return nil
}

// tally is how many events of one survey a replay would read.
type tally struct {
	events uint64
	owed   uint64 // of them: promised to be brought by their lane
}

// countSurveys counts the events of each survey, and those that are none. Where the
// subject names the survey, headers alone are read.
func (s *session) countSurveys(w *world, r replay.Record, unwell map[events.Survey]health.Record) (counts map[events.Survey]tally, bad uint64, err error) {
	counts = map[events.Survey]tally{}
	chosen := make(map[events.Survey]bool, len(r.Surveys)) // a thousand, for each of a million events
	for _, survey := range r.Surveys {
		chosen[survey] = true
	}
	wanted := func(survey events.Survey) bool { return len(chosen) == 0 || chosen[survey] }
	own := walk.Options{Subjects: s.names.Subjects()[1:], From: r.Start, Bodies: r.Response != ""}
	if len(r.Surveys) == 1 {
		own.Subjects = []string{s.names.Subject(r.Surveys[0])}
	}
	shared := walk.Options{Subjects: s.names.Subjects()[:1], From: r.Start, Bodies: true}
	for _, o := range []walk.Options{own, shared} {
		err := s.each(w, o, "counting", func(m walk.Message) error {
			if m.Sequence > r.End {
				return errPastEnd
			}
			survey, id := s.names.SubjectSurvey(m.Subject), ""
			if o.Bodies {
				e, err := s.names.DecodeMax(m.Subject, nil, m.Body, maxSearched)
				if err != nil && r.Response == "" && wanted(survey) {
					bad++
				}
				survey, id = e.Survey, e.ID
			}
			if survey != "" && wanted(survey) && (r.Response == "" || r.Response == id) {
				counts[survey] = counts[survey].with(unwell[survey].Owes(m.Sequence, m.Time))
			}
			return nil
		})
		if err != nil && !errors.Is(err, errPastEnd) {
			return nil, 0, err
		}
	}
	return counts, bad, nil
}

func (t tally) with(owed bool) tally {
	t.events++
	if owed {
		t.owed++
	}
	return t
}

// errPastEnd ends a count.
var errPastEnd = errors.New("past the end")

// ends finds out where the events would go.
func (s *session) ends(w *world, v *rehearsal, counts map[events.Survey]tally, unwell map[events.Survey]health.Record) error {
	kv, err := s.bucket(w.ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	at := map[events.Survey]surveyRehearsal{}
	for ep, err := range config.NewEditor(kv, endpoints.Lenient()).List(w.ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		n := counts[ep.Survey]
		if n.events == 0 {
			continue
		}
		view := endpoints.ViewOf(ep)
		view.Invalid = reasonOf(err)
		if r, known := unwell[ep.Survey]; known {
			view.Health = &r
		}
		row := surveyRehearsal{Survey: ep.Survey, Host: hostOf(ep.URL), State: view.State(), Outcome: outcomeAt(view), Limit: ep.RatePerSecond}
		if view.Invalid == "" {
			row.Owed = n.owed
		}
		at[ep.Survey] = row
	}
	for survey, n := range counts {
		row, connected := at[survey]
		if !connected {
			row = surveyRehearsal{Survey: survey, State: "no endpoint", Outcome: replay.NoWebhook}
		}
		row.Events = n.events
		v.take(row)
	}
	slices.SortFunc(v.Surveys, func(a, b surveyRehearsal) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Survey, b.Survey))
	})
	return nil
}

// outcomeAt is what becomes of an event at an endpoint, as the service decides it
// before it tries.
func outcomeAt(v endpoints.View) replay.Outcome {
	switch h := v.Health; {
	case v.Invalid != "", !v.Enabled, h != nil && (h.DisabledAt(v.Revision) || h.Failing() && h.Disabled == nil):
		return replay.Parked
	default:
		return replay.Delivered
	}
}

// take adds what becomes of one survey's events.
func (v *rehearsal) take(row surveyRehearsal) {
	v.Surveys = append(v.Surveys, row)
	v.Events += row.Events
	v.Owed += row.Owed
	switch left := row.Events - row.Owed; row.Outcome {
	case replay.NoWebhook:
		v.NoWebhook += left
	case replay.Delivered:
		v.Sent += left
		if left > 0 {
			v.Endpoints++
		}
	default:
		v.Parked += left
	}
}

// hostOf is an endpoint's host: its path may be a secret.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "unknown"
	}
	return u.Host
}

// rehearsedMost is how many surveys are listed for people.
const rehearsedMost = 20

func (v rehearsal) print(w *world) {
	t := w.newTable("SURVEY", "EVENTS", "HOST", "STATE", "WOULD BE")
	for _, row := range v.Surveys[:min(len(v.Surveys), rehearsedMost)] {
		t.AppendRow([]any{row.Survey, row.Events, row.Host, row.State, row.words()})
	}
	if t.Length() > 0 {
		t.Render()
	}
	if left := len(v.Surveys) - rehearsedMost; left > 0 {
		w.printf("and %s more; see all with --json\n", count(left, "survey"))
	}
	w.printf("sequences %d to %d: %s of %s; as things stand:\n", v.Start, v.End, count(v.Events, "event"), count(len(v.Surveys), "survey"))
	for _, l := range []struct {
		n          uint64
		name, what string
	}{
		{v.Sent, "delivered", "to " + count(v.Endpoints, "endpoint") + ", as far as they accept them"},
		{v.Parked, "parked", "their endpoints fail, are disabled or cannot be used: they wait in their lanes, which leave half of their room to live events; what finds none is left out"},
		{v.Owed, "owed", "their lanes bring them by themselves, as endpoints work again"},
		{v.NoWebhook, "no webhook", "their surveys have none: they are passed over"},
		{v.NoEvents, "dead", "they can never be delivered: dead letters"},
	} {
		if l.n > 0 || l.name == "delivered" {
			w.printf("%-12s %d: %s\n", l.name, l.n, l.what)
		}
	}
	for _, line := range v.timeLines(v.Surveys) {
		w.printf("%s\n", line)
	}
	w.printf("nothing was started\n")
}
