package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/cmd/webhooks/internal/replays"
	"github.com/popsee/webhooks/consumer/audit"
	"github.com/popsee/webhooks/consumer/deliverylog"
	"github.com/popsee/webhooks/events"
)

type auditCommand struct {
	connection `embed:""`
	Since      point    `name:"since" placeholder:"PLACE" help:"From where on: a time, a duration ago such as 2h, or a sequence of the event stream (default: the first event that stands in it; what is older than the delivery log is then shown, and fails nothing)."`
	Until      point    `name:"until" placeholder:"PLACE" help:"Up to where: what was published before a time, or a sequence, itself included (default: the last)."`
	Survey     noSurvey `name:"survey" hidden:""` // people look for it
	JSON       bool     `name:"json" help:"Print JSON."`
}

// noSurvey refuses to audit one survey: what left the event stream does not say whose
// it was.
type noSurvey struct{}

// UnmarshalText implements encoding.TextUnmarshaler for the command line.
func (*noSurvey) UnmarshalText([]byte) error {
	return withHint("leave --survey out, and bound it with --since and --until; for one response: webhooks why RESPONSE",
		"an audit accounts for every sequence, whosever it is")
}

// errUnproven is the end of an audit that found what nothing accounts for.
var errUnproven = errors.New("not every event is accounted for")

// Run accounts for every event of a stretch of the event stream.
func (c *auditCommand) Run(w *world) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	from, to, err := c.bounds(w, s)
	if err != nil {
		return err
	}
	bars := &phases{w: w}
	r, err := audit.Run(w.ctx, s.js, s.names, audit.Options{From: from, To: to, Progress: bars.step})
	bars.end()
	if errors.Is(err, audit.ErrEmpty) && c.Since.IsZero() && c.Until.IsZero() {
		return withHint("what has left it can be audited all the same: webhooks audit --since 1; of what is older than the delivery log nothing is known", "nothing stands in the event stream %s", s.names.Stream())
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = w.printJSON(r)
	} else {
		printAudit(w, r)
	}
	if err == nil && !r.Proven() {
		return errUnproven
	}
	return err
}

// bounds are the sequences to be audited, both included; 0 where none was given.
func (c *auditCommand) bounds(w *world, s *session) (from, to uint64, err error) {
	ctx, cancel := w.asking()
	defer cancel()
	stream, err := s.js.Stream(ctx, s.names.Stream())
	if err != nil {
		return 0, 0, fmt.Errorf("look at stream %s: %w", s.names.Stream(), err)
	}
	last, since, until := stream.CachedInfo().State.LastSeq, c.Since.called("--since"), c.Until.called("--until")
	if err := replays.Meant(since, until, last, time.Now()); err != nil {
		return 0, 0, refused(err, "an audit accounts for what was published")
	}
	if from, to, err = replays.New(s.js, s.names, nil).Sequences(ctx, since, until, 0, last); err != nil {
		return 0, 0, err
	}
	if !since.IsZero() && from > last || !until.IsZero() && to < max(from, 1) {
		return 0, 0, usage{withHint("webhooks status shows what there is; give an earlier --since, or a later --until", "nothing was published there")}
	}
	if until.IsZero() {
		to = 0 // nobody asked
	}
	return from, to, nil
}

// phases shows how far each part of long work is, one bar after the other.
type phases struct {
	w     *world
	doing string
	bar   *progress
}

func (p *phases) step(doing string, done, all int64) {
	if p.doing != doing {
		p.end()
		p.doing, p.bar = doing, p.w.newProgress(doing)
	}
	p.bar.step(done, all)
}

func (p *phases) end() {
	if p.bar != nil {
		p.bar.end()
		p.doing, p.bar = "", nil
	}
}

// meaning is what each fate means, in a table.
func meaning(f audit.Fate) string {
	return map[audit.Fate]string{
		audit.Delivered:     "answered 2xx: the delivery log has it",
		audit.WaitingLive:   "in the event stream, not yet settled",
		audit.WaitingLane:   "in its lane",
		audit.Owed:          "in the event stream, promised to be brought into its lane",
		audit.DeadLetter:    "among the dead letters",
		audit.LetterRemoved: "was a dead letter; redriven, purged or expired since",
		audit.NoWebhook:     "its survey had no webhook: nothing is owed",
		audit.Forgotten:     "erased because somebody asked for that (webhooks forget)",
		audit.NotOurs:       "another subject of the stream",
		audit.TooOld:        "published before the delivery log begins: cannot be proven",
		audit.RecordDropped: "the delivery log counted a record as lost there",
		audit.Unproven:      "settled, and nothing tells how; still in the event stream",
		audit.Lost:          "left the event stream, and nothing tells how it ended",
	}[f]
}

func printAudit(w *world, r audit.Report) {
	w.printf("sequences %d to %d of %s\n", r.From, r.To, r.Stream)
	t := w.newTable("FATE", "EVENTS", "MEANING")
	for _, f := range audit.Fates() {
		if n := r.Counts[f]; n > 0 || f == audit.Unproven || f == audit.Lost {
			t.AppendRow([]any{f.String(), n, meaning(f)})
		}
	}
	t.Render()
	for _, line := range remarks(r) {
		w.printf("%s\n", line)
	}
}

// remarks are what a person should know of an audit, and do about it.
func remarks(r audit.Report) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if r.Alarm != "" {
		say("alarm: %s; see: webhooks status", r.Alarm)
	}
	if n := r.Counts[audit.TooOld]; n > 0 {
		say("too old: the delivery log begins at %s and is kept for seven days; nothing proves how what was published before, up to sequence %d, was settled", shortTime(r.LogFrom), r.OldTo)
		if r.TooFar && r.OldTo < r.To {
			say("  it was asked for, and so not everything is accounted for; what was published since is by itself: webhooks audit --since %d --until %d", r.OldTo+1, r.To)
		}
	}
	if r.Strange > 0 {
		say("unreadable: %d messages of the log, the lanes or the dead letters are another version's; what they prove is not known here", r.Strange)
	}
	if n := r.Counts[audit.RecordDropped]; n > 0 {
		say("record-dropped: the log counted %d records as lost there; which of these events they were cannot be known: %s", r.Dropped, stretches(r.Runs[audit.RecordDropped]))
	}
	if n := r.Counts[audit.Unproven]; n > 0 {
		say("unproven: sequences %s", stretches(r.Runs[audit.Unproven]))
		say("  the log is written up to a second late, and a crash loses its last quarter second: audit again in a minute")
		say("  then send these again, and no others; receivers recognise by X-Popsee-Delivery what they have:")
		sendAgain(r, say)
		say("  for one of them: webhooks why RESPONSE, or webhooks attempts --all")
	}
	if n := r.Counts[audit.Lost]; n > 0 {
		say("lost: sequences %s", stretches(r.Runs[audit.Lost]))
		for _, s := range r.Stretches[audit.Lost][:min(len(r.Stretches[audit.Lost]), shownRuns)] {
			say("  %s: %s", stretches([]deliverylog.Run{s.Run}), cmp.Or(publishedAt(s), "nobody knows when they were published"))
		}
		if r.Dropped > 0 {
			say("  the log counted %d records as lost in this range: some of these may have been delivered, which nobody can tell", r.Dropped)
		}
		say("  they are in no stream of ours any more: their publisher has to publish them again (webhooks publish)")
		say("  find out why: somebody deleted or purged, or the event stream's limits are too tight (webhooks status, webhooks doctor)")
	}
	return lines
}

// sendAgain says which command sends each stretch again, and whose events those are.
func sendAgain(r audit.Report, say func(format string, args ...any)) {
	all := r.Stretches[audit.Unproven]
	for _, s := range all[:min(len(all), shownRuns)] {
		say("    webhooks replay start --since %d --until %d    # %s", s.From, s.To, strings.Join(slices.DeleteFunc([]string{ofSurveys(s.Surveys), publishedAt(s)}, isEmpty), ", "))
	}
	if more := len(r.Runs[audit.Unproven]) - shownRuns; more > 0 {
		say("    and so on: %d more stretches, which webhooks audit --json names", more)
	}
}

func isEmpty(s string) bool { return s == "" }

func ofSurveys(surveys []events.Survey) string {
	if len(surveys) == 0 {
		return ""
	}
	return "of " + listed(surveys)
}

// publishedAt says when the events of a stretch were published, as far as that is known.
func publishedAt(s audit.Stretch) string {
	switch {
	case s.After.IsZero() && s.Before.IsZero():
		return ""
	case s.After.IsZero():
		return "published before " + shortTime(s.Before)
	case s.Before.IsZero():
		return "published after " + shortTime(s.After)
	case s.After.Equal(s.Before):
		return "published " + shortTime(s.After)
	default:
		return "published between " + shortTime(s.After) + " and " + shortTime(s.Before)
	}
}

// shownRuns is how many stretches are printed; --json has more.
const shownRuns = 10

func stretches(runs []deliverylog.Run) string {
	var parts []string
	for i, r := range runs {
		if i == shownRuns {
			parts = append(parts, fmt.Sprintf("and %d more stretches (--json)", len(runs)-i))
			break
		}
		if r.From == r.To {
			parts = append(parts, fmt.Sprint(r.From))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d-%d", r.From, r.To))
	}
	return strings.Join(parts, ", ")
}
