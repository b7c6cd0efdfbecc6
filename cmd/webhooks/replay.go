package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/consumer/replay"
	"github.com/popsee/webhooks/events"
)

// replayCommand groups what is done with replays.
type replayCommand struct {
	Start  replayStart  `cmd:"" help:"Send stored events again, by the running service; nothing depends on this terminal."`
	List   replayList   `cmd:"" help:"List replays, the newest first."`
	Show   replayShow   `cmd:"" help:"Show one replay, with --follow as it goes."`
	Pause  replayPause  `cmd:"" help:"Pause a replay: what is in hand is finished."`
	Resume replayResume `cmd:"" help:"Go on with a paused replay where it stood."`
	Cancel replayCancel `cmd:"" help:"End a replay for good; what was sent stays sent."`
}

// replayTarget is what every command on one replay takes.
type replayTarget struct {
	connection `embed:""`
	ID         string `arg:"" name:"id" help:"The replay's id, as start and list print it."`
}

// open opens a session, when the id could be one.
func (t replayTarget) open(w *world) (*session, error) {
	if _, err := replay.ParseID(t.ID); err != nil {
		return nil, usage{withHint("see what there is with: webhooks replay list", "%w", err)}
	}
	return t.connection.open(w)
}

// told says what to do about a replay that is not there, or cannot be changed so.
func (t replayTarget) told(err error) error {
	switch {
	case errors.Is(err, replay.ErrNoReplay):
		return withHint("see what there is with: webhooks replay list", "%w", err)
	case errors.As(err, new(*replay.Refused)):
		return withHint("start another with: webhooks replay start", "%w", err)
	default:
		return err
	}
}

type replayList struct {
	connection `embed:""`
	JSON       bool `name:"json" help:"Print JSON, one replay a line."`
}

// Run lists the replays.
func (c *replayList) Run(w *world) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	all, err := replays.New(s.js, s.names, nil).List(w.ctx)
	if err != nil {
		return err
	}
	t := w.newTable("ID", "STATE", "STARTED", "BY", "SEQUENCES", "DONE", "DELIVERED", "PARKED", "REASON")
	for _, r := range all {
		if c.JSON {
			if err := w.printJSON(replays.ViewOf(r)); err != nil {
				return err
			}
			continue
		}
		t.AppendRow([]any{r.ID, r.State, shortTime(r.At), oneLine(r.By), fmt.Sprintf("%d-%d", r.Start, r.End), doneWords(r), r.Counts.Delivered, r.Counts.Parked, oneLine(r.Reason)})
	}
	switch {
	case c.JSON:
	case t.Length() == 0:
		w.printf("no replays; start one with: webhooks replay start --since 1h --dry-run\n")
	default:
		t.Render()
	}
	return nil
}

// doneWords are percentDone with what was never sent, or is missing in the counts.
func doneWords(r replay.Record) string {
	words := percentDone(r)
	if r.Gone > 0 {
		words += fmt.Sprintf(", %d gone", r.Gone)
	}
	if n := r.Uncounted(); n > 0 {
		words += fmt.Sprintf(", %d not counted", n)
	}
	return words
}

func percentDone(r replay.Record) string {
	if r.Events == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", r.Handled()*100/r.Events)
}

type replayShow struct {
	replayTarget `embed:""`
	Follow       bool `name:"follow" short:"f" help:"Go on until it has ended: a bar on a terminal, elsewhere a line now and then."`
	JSON         bool `name:"json" help:"Print JSON; with --follow a line for each change."`
}

// Run shows a replay, and with --follow how it goes on. It fails when the replay
// did.
func (c *replayShow) Run(w *world) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := replay.Look(w.ctx, s.js, s.names, c.ID)
	if err == nil && c.Follow {
		r, err = s.follow(w, r, c.JSON)
	}
	if err != nil {
		return c.told(err)
	}
	if c.JSON {
		err = w.printJSON(replays.ViewOf(r))
	} else {
		err = s.printReplay(w, r)
	}
	if err == nil && r.State == replay.Failed {
		return withHint("start another with: webhooks replay start", "replay %s failed: %s", r.ID, r.Why)
	}
	return err
}

// printReplay prints a replay for people.
func (s *session) printReplay(w *world, r replay.Record) error {
	now := time.Now()
	for _, line := range replayLines(r, now) {
		w.printf("%-12s %s\n", line.name, line.value)
	}
	if r.State != replay.Running {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), askTime) // whoever interrupted still sees how it stands
	defer cancel()
	note, err := s.heldBack(ctx)
	if note != "" {
		w.printf("%-12s %s\n", "held back", note)
	}
	return err
}

// replayLines are what there is to say of a replay.
func replayLines(r replay.Record, now time.Time) []healthLine {
	lines := []healthLine{{"replay", fmt.Sprintf("%s is %s since %s", r.ID, r.State, ago(r.Since, now))}}
	add := func(name, format string, args ...any) {
		lines = append(lines, healthLine{name, fmt.Sprintf(format, args...)})
	}
	if r.Why != "" {
		add("because", "%s", r.Why)
	}
	add("started", "%s%s%s", ago(r.At, now), prefixed(" by ", oneLine(r.By)), prefixed(", because: ", oneLine(r.Reason)))
	add("events", "%s, sequences %d to %d%s", count(r.Events, "event"), r.Start, r.End, chosen(r))
	add("rate", "%s", rateWords(r.Rate))
	add("progress", "%d of %d (%s), all settled up to sequence %d", r.Handled(), r.Events, percentDone(r), r.Settled)
	c := r.Counts
	for _, l := range []struct {
		n          uint64
		name, what string
	}{
		{c.Delivered, "delivered", ""},
		{c.Parked, "parked", "they wait in their lanes and are sent from there; see: webhooks lanes"},
		{c.Owed, "owed", "their lanes bring them by themselves, as endpoints work again"},
		{c.NoWebhook, "no webhook", "their surveys have none: nothing is owed"},
		{c.Dead, "dead", "they can never be delivered; see: webhooks dead-letters list"},
		{c.Skipped, "skipped", "of another survey or response than asked for"},
		{r.Gone, "gone", "they left the event stream before they could be sent (so many at most); see: webhooks doctor"},
		{c.LeftOut, "left out", leftOut(r)},
	} {
		if l.n > 0 || l.name == "delivered" {
			add(l.name, "%d%s", l.n, prefixed(": ", l.what))
		}
	}
	if n := r.Uncounted(); n > 0 {
		add("not counted", "%d: %s", n, uncounted(r, now))
	}
	return lines
}

func prefixed(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// chosen says whose events a replay is about.
func chosen(r replay.Record) string {
	switch {
	case r.Response != "":
		return ", response " + r.Response
	case len(r.Surveys) == 0:
		return ", of all surveys"
	default:
		return ", of " + listed(r.Surveys)
	}
}

func rateWords(rate float64) string {
	if rate == 0 {
		return "as fast as it goes, when live traffic leaves room"
	}
	return fmt.Sprintf("%g events a second, all replicas together", rate)
}

// leftOutShown is how many surveys are told how to be sent again.
const leftOutShown = 3

// leftOut says how to send what had no place, the earliest first.
func leftOut(r replay.Record) string {
	surveys := slices.SortedFunc(maps.Keys(r.LeftOut), func(a, b events.Survey) int {
		return cmp.Or(cmp.Compare(r.LeftOut[a], r.LeftOut[b]), cmp.Compare(a, b))
	})
	var parts []string
	for _, survey := range surveys[:min(len(surveys), leftOutShown)] {
		parts = append(parts, fmt.Sprintf("webhooks replay start --survey %s --since %d --until %d", survey, r.LeftOut[survey], r.End))
	}
	if more := len(surveys) - leftOutShown; more > 0 {
		parts = append(parts, fmt.Sprintf("and so on: %s more, which --json names", count(more, "survey")))
	}
	return "their endpoints failed or were busy, and their lanes had no room; when they work, or at once if they were busy: " + strings.Join(parts, " ; ")
}

// uncounted says what is known of events that nobody has counted, and who knows more.
func uncounted(r replay.Record, now time.Time) string {
	if r.Reporting(now) {
		return "replicas are still writing what they have counted"
	}
	return fmt.Sprintf("settled by a replica that ended before it could say how, or deleted; the delivery log knows: webhooks attempts --replay %s; webhooks audit --since %d --until %d",
		r.ID, r.Start, r.End)
}

// heldBack says why a running replay may stand still.
func (s *session) heldBack(ctx context.Context) (string, error) {
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return "", err
	}
	cons, err := stream.Consumer(ctx, s.names.Consumer())
	if err != nil {
		return "", err
	}
	y := replay.Yielding{}
	if lag := cons.CachedInfo().NumPending; y.Behind(lag) {
		return fmt.Sprintf("the live consumer is behind by %d events, and goes first", lag), nil
	}
	return "", nil
}
