package main

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// rehearsal is what a replay would do.
type rehearsal struct {
	Start     uint64            `json:"start"`
	End       uint64            `json:"end"`
	Response  string            `json:"response,omitempty"`
	Events    uint64            `json:"events"`     // of the surveys asked for
	Sent      uint64            `json:"sent"`       // of surveys that have an endpoint
	Endpoints int               `json:"endpoints"`  // that would be sent to
	NoEvents  uint64            `json:"not_events"` // that cannot be read: dead letters
	Rate      float64           `json:"rate"`       // events a second; 0: as fast as it goes
	Seconds   float64           `json:"seconds"`    // that it would take; 0: not known
	Surveys   []surveyRehearsal `json:"surveys"`    // the one with the most events first
}

// surveyRehearsal is what it would do for one survey.
type surveyRehearsal struct {
	Survey events.Survey `json:"survey"`
	Events uint64        `json:"events"`
	Host   string        `json:"host,omitempty"` // of its endpoint; empty when it has none
	State  string        `json:"state"`
}

// rehearse counts what a replay would send, and to whom.
func (s *session) rehearse(w *world, r replay.Record, asJSON bool) error {
	counts, bad, err := s.countSurveys(w, r)
	if err != nil {
		return err
	}
	v := rehearsal{Start: r.Start, End: r.End, Response: r.Response, NoEvents: bad, Rate: r.Rate, Surveys: []surveyRehearsal{}}
	if err := s.ends(w, &v, counts); err != nil {
		return err
	}
	if r.Rate > 0 {
		v.Seconds = float64(v.Events) / r.Rate
	}
	if asJSON {
		return w.printJSON(v)
	}
	v.print(w)
	return nil
}

// countSurveys counts the events of each survey, and those that are none. Where the
// subject names the survey, headers alone are read.
func (s *session) countSurveys(w *world, r replay.Record) (counts map[events.Survey]uint64, bad uint64, err error) {
	counts = map[events.Survey]uint64{}
	wanted := func(survey events.Survey) bool { return len(r.Surveys) == 0 || slices.Contains(r.Surveys, survey) }
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
				counts[survey]++
			}
			return nil
		})
		if err != nil && !errors.Is(err, errPastEnd) {
			return nil, 0, err
		}
	}
	return counts, bad, nil
}

// errPastEnd ends a count.
var errPastEnd = errors.New("past the end")

// ends finds out where the events would go.
func (s *session) ends(w *world, v *rehearsal, counts map[events.Survey]uint64) error {
	kv, err := s.bucket(w.ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	unwell, err := s.unwell(w.ctx)
	if err != nil {
		return err
	}
	at := map[events.Survey]surveyRehearsal{}
	for ep, err := range config.NewEditor(kv, endpoints.Lenient()).List(w.ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		if counts[ep.Survey] == 0 {
			continue
		}
		view := endpoints.ViewOf(ep)
		view.Invalid = reasonOf(err)
		if r, known := unwell[ep.Survey]; known {
			view.Health = &r
		}
		at[ep.Survey] = surveyRehearsal{Survey: ep.Survey, Host: hostOf(ep.URL), State: view.State()}
	}
	for survey, n := range counts {
		row, connected := at[survey]
		if !connected {
			row = surveyRehearsal{Survey: survey, State: "no endpoint: passed over"}
		} else {
			v.Endpoints++
			v.Sent += n
		}
		row.Events = n
		v.Events += n
		v.Surveys = append(v.Surveys, row)
	}
	slices.SortFunc(v.Surveys, func(a, b surveyRehearsal) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Survey, b.Survey))
	})
	return nil
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
	t := w.newTable("SURVEY", "EVENTS", "HOST", "STATE")
	for _, row := range v.Surveys[:min(len(v.Surveys), rehearsedMost)] {
		t.AppendRow([]any{row.Survey, row.Events, row.Host, row.State})
	}
	if t.Length() > 0 {
		t.Render()
	}
	if left := len(v.Surveys) - rehearsedMost; left > 0 {
		w.printf("and %s more; see all with --json\n", count(left, "survey"))
	}
	w.printf("sequences %d to %d: %s of %s, of which %d would be sent, to %s\n", v.Start, v.End,
		count(v.Events, "event"), count(len(v.Surveys), "survey"), v.Sent, count(v.Endpoints, "endpoint"))
	if v.NoEvents > 0 {
		w.printf("and %s that can never be delivered: dead letters\n", count(v.NoEvents, "message"))
	}
	if v.Rate > 0 {
		w.printf("at %g events a second that takes %s, longer while the live consumer is behind\n", v.Rate,
			spoken(time.Duration(v.Seconds*float64(time.Second))))
	}
	w.printf("nothing was started\n")
}
