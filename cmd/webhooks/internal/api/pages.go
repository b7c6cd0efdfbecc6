package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/events"
)

// Bounds of a page.
const (
	pageDefault = 50
	pageMost    = 500
)

// page is a part of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // the cursor of what follows; absent at the end
}

func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return pageDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageMost {
		return 0, badRequest(fmt.Sprintf("limit: want a number from 1 to %d", pageMost))
	}
	return n, nil
}

// deliveryView is one attempt of the delivery log.
type deliveryView struct {
	At       time.Time `json:"at"`
	Response string    `json:"response"`
	Number   int       `json:"number"`
	Verdict  string    `json:"verdict"`
	Reason   string    `json:"reason"`
	Status   int       `json:"status,omitempty"`
	Seconds  float64   `json:"seconds"`
	Host     string    `json:"host"`
	Revision uint64    `json:"revision"`
	Replay   string    `json:"replay,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Body     string    `json:"body,omitempty"`
}

func viewOf(r deliverylog.Record) deliveryView {
	return deliveryView{
		At: r.At, Response: r.EventID, Number: r.Number, Verdict: r.Verdict.String(), Reason: string(r.Reason), Status: r.Status,
		Seconds: r.Took.Seconds(), Host: r.Host, Revision: r.Revision, Replay: r.Replay, Detail: r.Detail, Body: r.Snippet,
	}
}

// cursor is where a page of the delivery log ends: everything later was given, and
// so many of those at that very time.
type cursor struct {
	at    time.Time
	given int
}

// mostGiven bounds what a cursor of somebody else's making could have us keep. One
// survey has not so many attempts in one nanosecond.
const mostGiven = 10_000

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", c.at.UnixNano(), c.given))
}

func parseCursor(text string) (cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	var at int64
	var c cursor
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d.%d", &at, &c.given)
	}
	if err != nil || c.given < 0 || c.given > mostGiven {
		return c, badRequest("cursor: it is none of ours; begin without one")
	}
	c.at = time.Unix(0, at)
	return c, nil
}

// deliveries gives a survey's attempts, newest first.
func (a *api) deliveries(r *http.Request, s events.Survey) (reply, error) {
	limit, err := limitOf(r)
	if err != nil {
		return reply{}, err
	}
	from := cursor{at: time.Now().Add(time.Minute)} // clocks differ
	if text := r.URL.Query().Get("cursor"); text != "" {
		if from, err = parseCursor(text); err != nil {
			return reply{}, err
		}
	}
	f := deliverylog.Filter{
		Survey: s, EventID: r.URL.Query().Get("response"), Kinds: []deliverylog.Kind{deliverylog.KindAttempt}, Until: from.at.Add(time.Nanosecond),
	}
	if f.Failed, err = flag(r, "failed"); err != nil {
		return reply{}, err
	}
	found, err := a.newest(r.Context(), f, from, limit+1)
	if err != nil {
		return reply{}, err
	}
	p := page[deliveryView]{Items: []deliveryView{}}
	for _, record := range found[:min(limit, len(found))] {
		p.Items = append(p.Items, viewOf(record))
	}
	if len(found) > limit {
		p.Next = after(found[:limit], from).String()
	}
	return reply{status: http.StatusOK, body: p}, nil
}

// after is the cursor behind a page that began at from.
func after(given []deliverylog.Record, from cursor) cursor {
	end := cursor{at: given[len(given)-1].At}
	if end.at.Equal(from.at) {
		end.given = from.given
	}
	for _, r := range given {
		if r.At.Equal(end.at) {
			end.given++
		}
	}
	return end
}

// newest reads the newest attempts that are meant. The log is read oldest first:
// so the last hour is, then the last day, and only then all of it.
func (a *api) newest(ctx context.Context, f deliverylog.Filter, from cursor, n int) ([]deliverylog.Record, error) {
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 0} {
		f.Since = time.Time{}
		if back != 0 {
			f.Since = from.at.Add(-back)
		}
		found, err := a.readNewest(ctx, f, from, n)
		if err != nil || len(found) == n || back == 0 {
			return found, err
		}
	}
	return nil, nil // the last round returns
}

func (a *api) readNewest(ctx context.Context, f deliverylog.Filter, from cursor, n int) ([]deliverylog.Record, error) {
	var found []deliverylog.Record
	keep := n + from.given
	for r, err := range deliverylog.Read(ctx, a.JS, a.Names, f) {
		if errors.As(err, new(*deliverylog.Unreadable)) {
			continue // another version's
		}
		if err != nil {
			return nil, err
		}
		found = append(found, r)
		if len(found) > 4*keep {
			slices.SortFunc(found, newestFirst)
			found = slices.Clip(found[:keep])
		}
	}
	slices.SortFunc(found, newestFirst)
	skipped := 0
	for skipped < min(from.given, len(found)) && found[skipped].At.Equal(from.at) {
		skipped++
	}
	found = found[skipped:]
	return found[:min(n, len(found))], nil
}

func newestFirst(a, b deliverylog.Record) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Source(), a.Source()), cmp.Compare(b.Number, a.Number), cmp.Compare(a.EventID, b.EventID))
}

// deadLetters gives a survey's dead letters, oldest first.
func (a *api) deadLetters(r *http.Request, s events.Survey) (reply, error) {
	limit, err := limitOf(r)
	if err != nil {
		return reply{}, err
	}
	var behind uint64
	if text := r.URL.Query().Get("cursor"); text != "" {
		if behind, err = strconv.ParseUint(text, 10, 64); err != nil {
			return reply{}, badRequest("cursor: it is none of ours; begin without one")
		}
	}
	p := page[deadletters.Letter]{Items: []deadletters.Letter{}}
	for l, err := range deadletters.New(a.JS, a.Names).List(r.Context(), deadletters.Filter{Survey: s}) {
		if errors.As(err, new(*deadletters.Unreadable)) || err == nil && l.Sequence <= behind {
			continue
		}
		if err != nil {
			return reply{}, err
		}
		if len(p.Items) == limit {
			p.Next = strconv.FormatUint(p.Items[limit-1].Sequence, 10)
			break
		}
		p.Items = append(p.Items, l)
	}
	return reply{status: http.StatusOK, body: p}, nil
}
