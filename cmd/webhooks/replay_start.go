package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/endpoints"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

type replayStart struct {
	connection `embed:""`
	Survey     []string   `name:"survey" sep:"none" placeholder:"ID" help:"Only this survey's events; may be given more than once (default: every survey's)."`
	Since      point      `name:"since" placeholder:"PLACE" help:"From where on: a time, a duration ago such as 2h, or a sequence of the event stream."`
	Until      point      `name:"until" placeholder:"PLACE" help:"Up to where: a time, a duration ago, or the last sequence (default: everything that is settled now)."`
	Response   string     `name:"response" placeholder:"ID" help:"Only this response; --since is not needed with it."`
	Rate       replayRate `name:"rate" default:"1000" placeholder:"N" help:"Events a second, all replicas together, or max (default: ${default}). Live events go first whatever it is."`
	Reason     string     `name:"reason" placeholder:"TEXT" help:"Why, for whoever looks at it later."`
	DryRun     bool       `name:"dry-run" help:"Start nothing; count what would be sent, to whom, and how long it would take."`
	JSON       bool       `name:"json" help:"Print JSON."`
}

// replayRate is how fast a replay goes; 0 is as fast as it can.
type replayRate float64

// The rates that can be asked for: one event in 1,000 s, and more than any one stream
// bears.
const (
	slowest = 0.001
	fastest = 1e6
)

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (r *replayRate) UnmarshalText(text []byte) error {
	if string(text) == "max" {
		*r = 0
		return nil
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(n >= slowest && n <= fastest) { // NaN is neither
		return fmt.Errorf("%q is no rate: give events a second, from %g to %d, or max", text, slowest, int(fastest))
	}
	*r = replayRate(n)
	return nil
}

// Run starts a replay, or says what one would do.
func (c *replayStart) Run(w *world) error {
	surveys, err := c.surveys()
	if err != nil {
		return err
	}
	if c.Since.isZero() && c.Response == "" {
		return usage{withHint("for example --since 2h, --since 2026-01-31 or --since 1041; see it first with --dry-run", "a replay needs to know from where on: give --since")}
	}
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.connected(w, surveys); err != nil {
		return err
	}
	plan, err := s.plan(w, c.Since, c.Until, time.Now())
	if err != nil {
		return err
	}
	r := replay.Record{
		Format: events.Format, ID: replay.NewID(), By: startedBy(w), At: time.Now().UTC(), Reason: oneLine(c.Reason), StreamCreated: plan.created, Start: plan.start, End: plan.end,
		Surveys: surveys, Response: c.Response, Rate: float64(c.Rate), State: replay.Running, Since: time.Now().UTC(),
	}
	if c.Response != "" {
		if r, err = s.aim(w, r); err != nil {
			return err
		}
	}
	if !c.JSON {
		plan.tell(w)
	}
	if c.DryRun {
		return s.rehearse(w, r, c.JSON)
	}
	return c.start(w, s, r)
}

func (c *replayStart) start(w *world, s *session, r replay.Record) (err error) {
	ctx, cancel := w.asking()
	defer cancel()
	if r.Events, err = replay.Count(ctx, s.js, s.names, r.Surveys, r.Start, r.End); err != nil {
		return err
	}
	if r.Events == 0 {
		return withHint("see which surveys have events with: webhooks replay start --since … --dry-run", "there is no event to replay between sequence %d and %d", r.Start, r.End)
	}
	if err := replay.Create(ctx, s.js, s.names, r); err != nil {
		return err
	}
	if c.JSON {
		return w.printJSON(viewOf(r))
	}
	w.printf("replay %s started: %s, sequences %d to %d%s, %s\n", r.ID, count(r.Events, "event"), r.Start, r.End, chosen(r), rateWords(r.Rate))
	w.printf("watch it with: webhooks replay show %s --follow\n", r.ID)
	return nil
}

// surveys are those asked for, each once.
func (c *replayStart) surveys() ([]events.Survey, error) {
	var all []events.Survey
	for _, id := range c.Survey {
		survey, err := events.ParseSurvey(id)
		if err != nil {
			return nil, usage{withHint("use letters, digits, - and _ ; see what there is with: webhooks endpoint list", "survey %q is not a valid id", id)}
		}
		all = append(all, survey)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > replay.MaxSurveys {
		return nil, usage{withHint("leave --survey out to replay every survey's events, or start several replays",
			"%d surveys were given: a replay can name %d", len(all), replay.MaxSurveys)}
	}
	return all, nil
}

// connected refuses surveys that nothing would be sent for.
func (s *session) connected(w *world, surveys []events.Survey) error {
	ctx, cancel := w.asking()
	defer cancel()
	kv, err := s.bucket(ctx, s.names.Endpoints())
	if err != nil {
		return err
	}
	editor := config.NewEditor(kv, endpoints.Lenient())
	for _, survey := range surveys {
		_, err := editor.Get(ctx, survey)
		switch {
		case errors.Is(err, config.ErrNoEndpoint):
			return usage{withHint(fmt.Sprintf("see what there is with: webhooks endpoint list; connect it with: webhooks endpoint set %s --url https://…", survey),
				"survey %s has no endpoint: nothing would be sent", survey)}
		case err != nil && !errors.Is(err, config.ErrInvalidEndpoint):
			return err
		}
	}
	return nil
}

// aim finds a response, so that nothing else has to be read by the service.
func (s *session) aim(w *world, r replay.Record) (replay.Record, error) {
	var survey events.Survey
	if len(r.Surveys) == 1 {
		survey = r.Surveys[0]
	}
	found, err := s.search(w, survey, r.Response)
	if err != nil {
		return r, err
	}
	found = slices.DeleteFunc(found, func(p place) bool {
		return p.noEvent != "" || p.sequence < r.Start || p.sequence > r.End || len(r.Surveys) > 0 && !slices.Contains(r.Surveys, p.survey)
	})
	if len(found) == 0 {
		return r, withHint("see what is known of it with: webhooks why "+r.Response, "response %s is not among the events of sequence %d to %d", r.Response, r.Start, r.End)
	}
	r.Surveys = nil
	for _, p := range found {
		r.Surveys = append(r.Surveys, p.survey)
	}
	slices.Sort(r.Surveys)
	r.Surveys = slices.Compact(r.Surveys)
	bySequence := func(a, b place) int { return cmp.Compare(a.sequence, b.sequence) }
	r.Start, r.End = slices.MinFunc(found, bySequence).sequence, slices.MaxFunc(found, bySequence).sequence
	return r, s.connected(w, r.Surveys)
}

// startedBy is who asks, as far as the environment says.
func startedBy(w *world) string {
	host, err := os.Hostname()
	if err != nil {
		return w.env("USER")
	}
	return cmp.Or(w.env("USER"), "somebody") + "@" + host
}

// asked runs one question within its time.
func asked[T any](ctx context.Context, question func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return question(ctx)
}
