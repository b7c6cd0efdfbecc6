package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/popsee/webhooks/consumer/deadletters"
	"github.com/popsee/webhooks/events"
)

// deadLettersCommand groups what is done with what was given up on.
type deadLettersCommand struct {
	List    deadLettersList    `cmd:"" help:"List dead letters, oldest first."`
	Show    deadLettersShow    `cmd:"" help:"Show one dead letter, its body included."`
	Redrive deadLettersRedrive `cmd:"" help:"Hand dead letters back to be delivered, with the same ids."`
	Purge   deadLettersPurge   `cmd:"" help:"Delete dead letters for good."`
}

// letterFilter chooses dead letters.
type letterFilter struct {
	Survey string `name:"survey" placeholder:"ID" help:"Only this survey's; _ means those whose survey is unknown."`
	Reason string `name:"reason" placeholder:"REASON" help:"Only those with this reason."`
	Since  when   `name:"since" placeholder:"TIME" help:"Only those buried since: a time, or a duration ago such as 2h."`
	Until  when   `name:"until" placeholder:"TIME" help:"Only those buried before."`
}

func (f letterFilter) filter() (deadletters.Filter, error) {
	d := deadletters.Filter{Reason: f.Reason, Since: f.Since.Time, Until: f.Until.Time}
	if f.Survey == "_" {
		d.Unknown = true
		return d, between(f.Since, f.Until)
	}
	if f.Survey != "" {
		survey, err := events.ParseSurvey(f.Survey)
		if err != nil {
			return d, usage{err}
		}
		d.Survey = survey
	}
	return d, between(f.Since, f.Until)
}

type deadLettersList struct {
	connection   `embed:""`
	letterFilter `embed:""`
	Limit        int  `name:"limit" placeholder:"N" help:"At most so many."`
	JSON         bool `name:"json" help:"Print JSON, one letter a line."`
}

// Run lists dead letters without holding them all.
func (c *deadLettersList) Run(w *world) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Limit = c.Limit
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	t := w.newTable("LETTER", "BURIED", "SURVEY", "RESPONSE", "REASON", "TRIES", "BYTES")
	for l, err := range deadletters.New(s.js, s.names).List(w.ctx, f) {
		if unreadable, ok := errors.AsType[*deadletters.Unreadable](err); ok {
			if err := c.leftOut(w, t, l, unreadable); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if c.JSON {
			if err := w.printJSON(l); err != nil {
				return err
			}
			continue
		}
		t.AppendRow([]any{l.Sequence, shortTime(l.Buried), l.Survey, l.EventID, l.Reason, l.Attempts, l.Bytes})
	}
	switch {
	case c.JSON:
	case t.Length() == 0:
		w.printf("no dead letters\n")
	default:
		t.Render()
	}
	return nil
}

// leftOut shows a letter that cannot be read: it counts in status, and must be seen here.
func (c *deadLettersList) leftOut(w *world, t table.Writer, l deadletters.Letter, why *deadletters.Unreadable) error {
	if !c.JSON {
		t.AppendRow([]any{l.Sequence, shortTime(l.Buried), "", "", why.Error()})
		return nil
	}
	return w.printJSON(map[string]any{"letter": l.Sequence, "buried": l.Buried, "error": why.Error(), "hint": why.Hint()})
}

// shortTime is a time as tables show it.
func shortTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

type deadLettersShow struct {
	connection `embed:""`
	Letter     uint64 `arg:"" name:"letter" help:"Number of the letter, from the list."`
	JSON       bool   `name:"json" help:"Print JSON; the body is in the field body."`
	Raw        bool   `name:"raw" help:"Print the body's bytes and nothing else."`
}

// Run shows one letter.
func (c *deadLettersShow) Run(w *world) error {
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := w.asking()
	defer cancel()
	l, err := c.get(ctx, s)
	if err != nil {
		return err
	}
	switch {
	case c.Raw:
		_, err := w.out.Write(l.Body)
		return err
	case c.JSON:
		return w.printJSON(struct {
			deadletters.Letter
			Body string `json:"body"`
		}{l, strings.ToValidUTF8(string(l.Body), "�")})
	}
	for _, line := range []struct{ name, value string }{
		{"survey", string(l.Survey)},
		{"response", l.EventID},
		{"reason", l.Reason},
		{"detail", l.Detail},
		{"published", shortTime(l.Published)},
		{"first try", shortTime(l.First)},
		{"last try", shortTime(l.Last)},
		{"buried", shortTime(l.Buried)},
	} {
		if line.value != "" {
			w.printf("%-10s %s\n", line.name, line.value)
		}
	}
	w.printf("%-10s %d\n%-10s %s, sequence %d\n", "tries", l.Attempts, "from", l.Stream, l.Source)
	if l.Stack != "" {
		w.printf("stack:\n%s\n", l.Stack)
	}
	w.printf("body (%d bytes):\n%s\n", l.Bytes, printable(l.Body))
	return nil
}

// get reads the letter, and fetches a body that was too large to copy from where
// it stands.
func (c *deadLettersShow) get(ctx context.Context, s *session) (deadletters.Letter, error) {
	store := deadletters.New(s.js, s.names)
	l, err := store.Get(ctx, c.Letter)
	if errors.Is(err, deadletters.ErrNoLetter) {
		return l, withHint("see what there is with: webhooks dead-letters list", "%w", err)
	}
	if err == nil && l.ByReference {
		l.Body, err = store.Body(ctx, l)
	}
	return l, err
}

// printable makes untrusted bytes safe for a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(string(b), "�"))
}

// oneLine is text of somebody else's as it can be shown in a line.
func oneLine(text string) string {
	return strings.Join(strings.Fields(printable([]byte(text))), " ")
}

// letterChoice is what a command that changes something takes: letters have to be
// chosen, so that a forgotten flag does not mean all of them.
type letterChoice struct {
	letterFilter `embed:""`
	Letters      []uint64 `arg:"" optional:"" name:"letter" help:"Only these letters."`
	DryRun       bool     `name:"dry-run" help:"Do nothing; say what would be done."`
	All          bool     `name:"all" help:"Every letter; needed when nothing else chooses."`
}

// chosen is the filter; would says what choosing nothing would do.
func (c letterChoice) chosen(would string) (deadletters.Filter, error) {
	f, err := c.filter()
	if err != nil {
		return f, err
	}
	f.Sequences = c.Letters
	if !c.All && !c.DryRun && f.Survey == "" && !f.Unknown && f.Reason == "" && f.Since.IsZero() && f.Until.IsZero() && len(f.Sequences) == 0 {
		return f, usage{withHint("choose with --survey, --reason, --since, --until or numbers; or say --all", "this would %s every dead letter", would)}
	}
	return f, nil
}

type deadLettersPurge struct {
	connection   `embed:""`
	letterChoice `embed:""`
	JSON         bool `name:"json" help:"Print JSON."`
}

// Run deletes dead letters.
func (c *deadLettersPurge) Run(w *world) error {
	f, err := c.chosen("delete")
	if err != nil {
		return err
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	tally, err := deadletters.New(s.js, s.names).Purge(w.ctx, f, c.DryRun)
	if c.JSON {
		return errors.Join(err, w.printJSON(tally))
	}
	would := ""
	if c.DryRun {
		would = "would be "
	}
	w.printf("%d dead letters (%d bytes) %sdeleted\n", tally.Letters, tally.Bytes, would)
	return err
}
