package replays

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/cmd/webhooks/internal/search"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/health"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// Rehearsal is what a replay would do, as things stand.
type Rehearsal struct {
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

	Estimate
	Surveys []SurveyRehearsal `json:"surveys"` // the one with the most events first
}

// SurveyRehearsal is what a replay would do for one survey.
type SurveyRehearsal struct {
	Survey  events.Survey  `json:"survey"`
	Events  uint64         `json:"events"`
	Host    string         `json:"host,omitempty"` // of its endpoint; empty when it has none
	State   string         `json:"state"`
	Outcome replay.Outcome `json:"outcome"`                   // what would become of its events, but for those that are owed
	Owed    uint64         `json:"owed,omitempty"`            // of them
	Limit   float64        `json:"rate_per_second,omitempty"` // that its owner allows
}

// Rehearse counts what a planned replay would send, and to whom. It writes nothing.
func (d *Desk) Rehearse(ctx context.Context, p Plan) (*Rehearsal, error) {
	r := p.Record
	unwell, err := endpoints.Unwell(ctx, d.js, d.names)
	if err != nil {
		return nil, err
	}
	counts, bad, err := d.countSurveys(ctx, r, unwell)
	if err != nil {
		return nil, err
	}
	v := &Rehearsal{Start: r.Start, End: r.End, Response: r.Response, NoEvents: bad, Surveys: []SurveyRehearsal{}}
	if err := d.ends(ctx, v, counts, unwell); err != nil {
		return nil, err
	}
	v.Estimate, err = d.estimate(ctx, r)
	return v, err
}

// tally is how many events of one survey a replay would read.
type tally struct {
	events uint64
	owed   uint64 // of them: promised to be brought by their lane
}

// countSurveys counts the events of each survey, and those that are none. Where the
// subject names the survey, headers alone are read.
func (d *Desk) countSurveys(ctx context.Context, r replay.Record, unwell map[events.Survey]health.Record) (counts map[events.Survey]tally, bad uint64, err error) {
	counts = map[events.Survey]tally{}
	chosen := make(map[events.Survey]bool, len(r.Surveys)) // a thousand, for each of a million events
	for _, survey := range r.Surveys {
		chosen[survey] = true
	}
	wanted := func(survey events.Survey) bool { return len(chosen) == 0 || chosen[survey] }
	own := walk.Options{Subjects: d.names.Subjects()[1:], From: r.Start, Bodies: r.Response != ""}
	if len(r.Surveys) == 1 {
		own.Subjects = []string{d.names.Subject(r.Surveys[0])}
	}
	shared := walk.Options{Subjects: d.names.Subjects()[:1], From: r.Start, Bodies: true}
	for _, o := range []walk.Options{own, shared} {
		err := d.stream().Each(ctx, o, "counting", func(m walk.Message) error {
			if m.Sequence > r.End {
				return errPastEnd
			}
			survey, id := d.names.SubjectSurvey(m.Subject), ""
			if o.Bodies {
				e, err := d.names.DecodeMax(m.Subject, nil, m.Body, search.MaxEvent)
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
func (d *Desk) ends(ctx context.Context, v *Rehearsal, counts map[events.Survey]tally, unwell map[events.Survey]health.Record) error {
	editor, err := d.editor(ctx)
	if err != nil {
		return err
	}
	at := map[events.Survey]SurveyRehearsal{}
	for ep, err := range editor.List(ctx) {
		if err != nil && !errors.Is(err, config.ErrInvalidEndpoint) {
			return err
		}
		n := counts[ep.Survey]
		if n.events == 0 {
			continue
		}
		view := endpoints.ViewOf(ep)
		if err != nil {
			view.Invalid = err.Error()
		}
		if r, known := unwell[ep.Survey]; known {
			view.Health = &r
		}
		row := SurveyRehearsal{Survey: ep.Survey, Host: hostOf(ep.URL), State: view.State(), Outcome: outcomeAt(view), Limit: ep.RatePerSecond}
		if view.Invalid == "" {
			row.Owed = n.owed
		}
		at[ep.Survey] = row
	}
	for survey, n := range counts {
		row, connected := at[survey]
		if !connected {
			row = SurveyRehearsal{Survey: survey, State: "no endpoint", Outcome: replay.NoWebhook}
		}
		row.Events = n.events
		v.take(row)
	}
	slices.SortFunc(v.Surveys, func(a, b SurveyRehearsal) int {
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
func (v *Rehearsal) take(row SurveyRehearsal) {
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
