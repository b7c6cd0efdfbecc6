package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/consumer/walk"
	"github.com/popsee/webhooks/events"
)

// How much is read for what a report says of stretches: an audit that finds much
// must not take twice as long for that.
const (
	maxStretches = 100  // of each fate
	maxRead      = 1000 // events of one stretch
	maxNamed     = 10   // surveys of one stretch
)

// Stretch is a run of sequences that nothing accounts for, with what is still known of
// its events.
type Stretch struct {
	deliverylog.Run

	Surveys []events.Survey `json:"surveys,omitempty"`       // whose the events are that still stand in the event stream, of the first thousand; ten at most
	After   time.Time       `json:"published_from,omitzero"` // none was published earlier; zero when that is not known
	Before  time.Time       `json:"published_to,omitzero"`   // nor later; zero likewise
}

// describe finds out what is known of the stretches that are unproven or lost.
func (a *auditor) describe(ctx context.Context) error {
	stream, err := a.js.Stream(ctx, a.names.Stream())
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", a.names.Stream(), err)
	}
	a.report.Stretches = map[Fate][]Stretch{}
	for _, fate := range []Fate{Unproven, Lost} {
		runs := a.report.Runs[fate]
		for _, run := range runs[:min(len(runs), maxStretches)] {
			s, err := a.describeOne(ctx, stream, run)
			if err != nil {
				return err
			}
			a.report.Stretches[fate] = append(a.report.Stretches[fate], s)
		}
	}
	return nil
}

// describeOne reads from a stretch's first event on. Where it has left the event
// stream, those beside it say when it was published.
func (a *auditor) describeOne(ctx context.Context, stream jetstream.Stream, run deliverylog.Run) (Stretch, error) {
	s := Stretch{Run: run}
	n := 0
	for m, err := range walk.Stream(ctx, a.js, a.names.Stream(), walk.Options{From: run.From, Bodies: true}) {
		if err != nil {
			return s, err
		}
		if s.Before = m.Time; m.Sequence == run.From {
			s.After = m.Time
		}
		if m.Sequence <= run.To {
			s.name(a.surveyOf(m))
		}
		if m.Sequence >= run.To {
			break
		}
		if n++; n == maxRead {
			s.Before = time.Time{} // more of it was not read
			break
		}
	}
	if s.After.IsZero() && run.From > 1 {
		before, err := stream.GetMsg(ctx, run.From-1)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return s, fmt.Errorf("read message %d of %s: %w", run.From-1, a.names.Stream(), err)
		default:
			s.After = before.Time
		}
	}
	return s, nil
}

// surveyOf is whose an event is; empty when nobody can say.
func (a *auditor) surveyOf(m walk.Message) events.Survey {
	if e, err := a.names.DecodeMax(m.Subject, nil, m.Body, len(m.Body)); err == nil {
		return e.Survey
	}
	return a.names.SubjectSurvey(m.Subject)
}

func (s *Stretch) name(survey events.Survey) {
	if survey != "" && len(s.Surveys) < maxNamed && !slices.Contains(s.Surveys, survey) {
		s.Surveys = append(s.Surveys, survey)
	}
}
