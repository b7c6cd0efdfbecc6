package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/replay"
)

// maxReplayBytes bounds a request for a replay: a thousand surveys with the longest
// ids, and room for the rest.
const maxReplayBytes = 256 << 10

// surveysMost is how many surveys a rehearsal lists, those with the most events.
const surveysMost = 500

// replayInput is a replay as it is asked for.
type replayInput struct {
	Surveys  []string `json:"surveys"`  // none: all
	Since    loose    `json:"since"`    // a sequence, a time or a duration ago
	Until    loose    `json:"until"`    // the same; none: everything that is settled now
	Response string   `json:"response"` // only this one
	Rate     loose    `json:"rate"`     // events a second or "max"; none: [replay.DefaultRate]
	Reason   string   `json:"reason"`
	By       string   `json:"by"` // none: the admin API
	DryRun   bool     `json:"dry_run"`
}

// loose is a string or a number of JSON, as text.
type loose string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *loose) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case jsontext.KindString, jsontext.KindNumber, jsontext.KindInvalid: // reading says what is wrong
	default:
		return errors.New("want a string or a number")
	}
	token, err := d.ReadToken()
	*l = loose(token.String())
	return err
}

// startedBy is who started a replay when the request does not say.
const startedBy = "the admin API"

// request is what the input means.
func (in replayInput) request(key string) (q replays.Request, err error) {
	q = replays.Request{Surveys: in.Surveys, Response: in.Response, Rate: replay.DefaultRate, Reason: in.Reason, By: cmp.Or(in.By, startedBy), Key: key}
	q.Since, q.Until = replays.Point{Name: "since"}, replays.Point{Name: "until"}
	now := time.Now()
	if in.Since != "" {
		if q.Since, err = replays.ParsePoint("since", string(in.Since), now, time.UTC); err != nil {
			return q, err
		}
	}
	if in.Until != "" {
		if q.Until, err = replays.ParsePoint("until", string(in.Until), now, time.UTC); err != nil {
			return q, err
		}
	}
	if in.Rate != "" {
		q.Rate, err = replays.ParseRate(string(in.Rate))
	}
	return q, err
}

func (a *api) replays() *replays.Desk { return replays.New(a.JS, a.Names, nil) }

// started is a replay, with what was asked for and is not part of it.
type started struct {
	replays.View

	Notes []string `json:"notes,omitempty"`
}

// rehearsed is what a replay would do.
type rehearsed struct {
	DryRun bool `json:"dry_run"` // true

	replays.Rehearsal

	More  int      `json:"more_surveys,omitempty"` // that are not listed
	Notes []string `json:"notes,omitempty"`
}

func (a *api) startReplay(r *http.Request) (reply, error) {
	in, err := read[replayInput](r, "a replay")
	if err != nil {
		return reply{}, err
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return reply{}, err
	}
	q, err := in.request(key)
	if err != nil {
		return reply{}, err
	}
	if in.DryRun {
		return a.rehearse(r.Context(), q)
	}
	desk := a.replays()
	earlier, there, err := desk.Earlier(r.Context(), q)
	if err != nil {
		return reply{}, err
	}
	if there {
		return startedBefore(earlier), nil
	}
	p, err := desk.Plan(r.Context(), q)
	if err != nil {
		return reply{}, tooLong(r.Context(), err)
	}
	job, made, err := desk.Start(r.Context(), p)
	switch {
	case err != nil:
		return reply{}, err
	case !made:
		return startedBefore(job), nil
	}
	return reply{http.StatusCreated, job.Revision, started{replays.ViewOf(job), p.Notes}, locationOf(job)}, nil
}

// startedBefore answers whoever asks again under the same idempotency key: with the
// same replay, as it stands now.
func startedBefore(job replay.Record) reply {
	return reply{http.StatusOK, job.Revision, replays.ViewOf(job), locationOf(job)}
}

func locationOf(job replay.Record) string { return "/v1/replays/" + job.ID }

func (a *api) rehearse(ctx context.Context, q replays.Request) (reply, error) {
	desk := a.replays()
	p, err := desk.Plan(ctx, q)
	if err != nil {
		return reply{}, tooLong(ctx, err)
	}
	v, err := desk.Rehearse(ctx, p)
	if err != nil {
		return reply{}, tooLong(ctx, err)
	}
	answer := rehearsed{DryRun: true, Rehearsal: *v, Notes: p.Notes, More: max(0, len(v.Surveys)-surveysMost)}
	answer.Surveys = v.Surveys[:min(len(v.Surveys), surveysMost)]
	return reply{status: http.StatusOK, body: answer}, nil
}

// tooLong tells an event stream that is too long to be read in a request's time from
// a NATS that does not answer.
func tooLong(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return problem{
		Title: "Too much to read", Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("it was not read within %s: %v", requestTime, err),
		Hint: "ask for less: name surveys, or a later since; the command line (webhooks replay start) takes all the time it needs",
	}
}

// idempotencyKey reads the header Idempotency-Key, with quotes, as it is to be
// standardized, or without, as most send it.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if inner, quoted := strings.CutPrefix(key, `"`); quoted {
		if key, quoted = strings.CutSuffix(inner, `"`); !quoted || strings.ContainsAny(key, `"\`) {
			key = ""
		}
	}
	if len(values) > 1 || key == "" {
		return "", badRequest("Idempotency-Key: want one, such as a UUID")
	}
	return key, nil
}

// ofReplay is a handler of the replay in the path.
func ofReplay(h func(r *http.Request, id string) (reply, error)) handler {
	return func(r *http.Request) (reply, error) {
		id, err := replay.ParseID(r.PathValue("replay"))
		if err != nil {
			return reply{}, badRequest("the replay's id is not valid: it is the one that its start was answered with")
		}
		return h(r, id)
	}
}

func (a *api) getReplay(r *http.Request, id string) (reply, error) {
	job, err := a.replays().Look(r.Context(), id)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, revision: job.Revision, body: replays.ViewOf(job)}, nil
}

// change changes the replay's state.
func (a *api) change(to func(*replay.Record, time.Time) error) func(*http.Request, string) (reply, error) {
	return func(r *http.Request, id string) (reply, error) {
		job, err := a.replays().Change(r.Context(), id, to, func(job replay.Record) error { return unchanged(r, job.Revision) })
		if err != nil {
			return reply{}, err
		}
		return reply{status: http.StatusOK, revision: job.Revision, body: replays.ViewOf(job)}, nil
	}
}

// listReplays gives the replays, the newest first. Which one a page ends with is
// its cursor: newer ones may come meanwhile.
func (a *api) listReplays(r *http.Request) (reply, error) {
	limit, err := limitOf(r)
	if err != nil {
		return reply{}, err
	}
	behind := func(replay.Record) bool { return true }
	if text := r.URL.Query().Get("cursor"); text != "" {
		if behind, err = behindReplay(text); err != nil {
			return reply{}, err
		}
	}
	all, err := a.replays().List(r.Context())
	if err != nil {
		return reply{}, err
	}
	p := page[replays.View]{Items: []replays.View{}}
	for _, job := range all {
		if !behind(job) {
			continue
		}
		if len(p.Items) == limit {
			p.Next = replayCursor(p.Items[limit-1].Record)
			break
		}
		p.Items = append(p.Items, replays.ViewOf(job))
	}
	return reply{status: http.StatusOK, body: p}, nil
}

func replayCursor(job replay.Record) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", job.At.UnixNano(), job.ID))
}

// behindReplay says of a replay whether it comes behind a cursor.
func behindReplay(text string) (func(replay.Record) bool, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	nanos, id, _ := strings.Cut(string(b), ".")
	at, badTime := strconv.ParseInt(nanos, 10, 64)
	_, badID := replay.ParseID(id)
	if err := cmp.Or(err, badTime, badID); err != nil {
		return nil, badRequest("cursor: it is none of ours; begin without one")
	}
	last := replay.Record{At: time.Unix(0, at), ID: id}
	return func(job replay.Record) bool { return replay.NewestFirst(last, job) < 0 }, nil
}

// replayProblem says how what can be wrong with a replay is answered.
func replayProblem(err error) (problem, bool) {
	p := problem{Detail: err.Error()}
	refused, isRefused := errors.AsType[*replays.Refused](err)
	alarm, isAlarm := errors.AsType[*mark.Alarm](err)
	switch {
	case isRefused && refused.Why == replays.BadKey:
		return badRequest("Idempotency-Key: " + refused.Detail), true
	case isRefused:
		p.Title, p.Status, p.Hint = "Nothing is replayed", http.StatusUnprocessableEntity, refusedHint(refused)
	case isAlarm:
		p.Title, p.Status, p.Hint = "The live consumer has stopped", http.StatusConflict, alarm.Hint()
	case errors.Is(err, replay.ErrNoReplay):
		p.Title, p.Status, p.Hint = "No replay", http.StatusNotFound, "GET /v1/replays lists them; of those that have ended the last 200"
	case errors.As(err, new(*replay.Refused)):
		p.Title, p.Status, p.Hint = "Not as it stands", http.StatusConflict, "start another with POST /v1/replays"
	case errors.As(err, new(*replay.Newer)), errors.As(err, new(*mark.Newer)):
		p.Title, p.Status, p.Hint = "A newer version's", http.StatusConflict, config.Hint(err)
	default:
		return p, false
	}
	return p, true
}

func refusedHint(r *replays.Refused) string {
	switch r.Why {
	case replays.NoStart, replays.BadPoint:
		return `a sequence such as 1041, a time such as "2026-01-31T12:00:00Z", or so long ago: "2h"; see it first with "dry_run": true`
	case replays.BadSurvey:
		return "use 1 to 128 letters, digits, - and _"
	case replays.TooMany:
		return "leave surveys out to replay every survey's events, or start several replays"
	case replays.NoEndpoint:
		return fmt.Sprintf("connect it with PUT /v1/surveys/%s/webhook, or leave it out", r.About)
	case replays.Future:
		return "a replay sends what is stored; what is published later is delivered anyway"
	case replays.Backwards:
		return "since is the earlier one"
	case replays.NoEvents:
		return `"dry_run": true says which surveys have events`
	case replays.KeyUsed:
		return fmt.Sprintf("use a new key for each request; GET /v1/replays/%s has what was started", r.About)
	default:
		return ""
	}
}
