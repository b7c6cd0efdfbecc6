package deliverylog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/events"
)

// line is a record as it is written.
type line struct {
	Kind      Kind            `json:"kind"`
	Survey    string          `json:"survey"`
	At        time.Time       `json:"at"`
	Seqs      string          `json:"seqs"`
	Event     string          `json:"event"`
	Number    int             `json:"number"`
	Revision  uint64          `json:"revision"`
	Host      string          `json:"host"`
	Replay    string          `json:"replay"`
	Test      bool            `json:"test"`
	Took      int64           `json:"took"`
	DNS       int64           `json:"dns"`
	Connect   int64           `json:"connect"`
	TLS       int64           `json:"tls"`
	FirstByte int64           `json:"first_byte"`
	Reused    bool            `json:"reused"`
	Status    int             `json:"status"`
	Verdict   string          `json:"verdict"`
	Reason    delivery.Reason `json:"reason"`
	After     int64           `json:"after"`
	Detail    string          `json:"detail"`
	Snippet   string          `json:"snippet"`
	Records   uint64          `json:"records"`
	Until     time.Time       `json:"until"`
}

// decodeRecord reads one line, and refuses what this format does not know. What
// it returns is bounded and safe to print, whoever wrote it.
func decodeRecord(text []byte) (Record, error) {
	var w line
	if err := json.Unmarshal(text, &w, json.RejectUnknownMembers(true)); err != nil {
		return Record{}, fmt.Errorf("decode record: %w", err)
	}
	runs, err := parseRuns(w.Seqs)
	if err != nil {
		return Record{}, err
	}
	verdict, err := parseVerdict(w.Verdict)
	if err != nil {
		return Record{}, err
	}
	survey, err := w.check(runs)
	if err != nil {
		return Record{}, fmt.Errorf("decode record: %w", err)
	}
	return Record{
		Kind: w.Kind, Survey: survey, At: w.At, Runs: runs,
		EventID: printable(w.Event, maxText), Number: w.Number, Revision: w.Revision,
		Host: printable(w.Host, maxText), Replay: printable(w.Replay, maxText), Test: w.Test,
		Took: time.Duration(w.Took),
		Phases: delivery.Phases{
			DNS: time.Duration(w.DNS), Connect: time.Duration(w.Connect), TLS: time.Duration(w.TLS),
			FirstByte: time.Duration(w.FirstByte), Reused: w.Reused,
		},
		Status: w.Status, Verdict: verdict, Reason: delivery.Reason(printable(string(w.Reason), maxText)),
		After: time.Duration(w.After), Detail: printable(w.Detail, maxText), Snippet: printable(w.Snippet, maxSnippet),
		Records: w.Records, Until: w.Until,
	}, nil
}

// check looks at what must fit together, and gives the survey.
func (w *line) check(runs []Run) (events.Survey, error) {
	switch {
	case !slices.Contains(Kinds(), w.Kind):
		return "", fmt.Errorf("kind %.32q is unknown", w.Kind)
	case w.Kind == KindAttempt && (len(runs) != 1 || runs[0].Len() != 1):
		return "", errors.New("an attempt is of one event")
	case min(w.Took, w.DNS, w.Connect, w.TLS, w.FirstByte, w.After) < 0:
		return "", errors.New("a duration is negative")
	case !writable(w.At) || !writable(w.Until):
		return "", errors.New("a time is out of range")
	case w.Kind == KindDropped, w.Survey == "" && (w.Kind == KindDead || w.Kind == KindForgotten): // what is no event names none
		return "", nil
	default:
		return events.ParseSurvey(w.Survey)
	}
}

// writable says whether a time can be written in UTC as it was read.
func writable(t time.Time) bool { return t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 }

func parseVerdict(text string) (delivery.Verdict, error) {
	if text == "" {
		return 0, nil
	}
	for _, v := range delivery.Verdicts() {
		if v.String() == text {
			return v, nil
		}
	}
	return 0, fmt.Errorf("decode record: verdict %.32q is unknown", text)
}

var errRuns = errors.New("decode record: sequences are not ascending runs")

func parseRuns(text string) ([]Run, error) {
	runs := make([]Run, 0, 1)
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRun := strings.Cut(part, "-")
		if !isRun {
			to = from
		}
		r := Run{}
		var err1, err2 error
		r.From, err1 = strconv.ParseUint(from, 10, 63)
		r.To, err2 = strconv.ParseUint(to, 10, 63)
		n := len(runs)
		if err1 != nil || err2 != nil || r.To < r.From || n > 0 && r.From <= runs[n-1].To || n == maxRuns {
			return nil, errRuns
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// printable bounds a text and replaces what no terminal should be given.
// Package delivery has done so already, but the bus may hold what others wrote.
func printable(s string, limit int) string {
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s), limit)
}
