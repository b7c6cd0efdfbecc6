package main

import (
	"errors"
	"time"

	"github.com/popsee/webhooks/events"
)

type whyCommand struct {
	connection `embed:""`
	Survey     string `name:"survey" placeholder:"ID" help:"The response's survey; without it every event has to be looked at."`
	JSON       bool   `name:"json" help:"Print JSON."`
	Response   string `arg:"" name:"response" help:"The response's id."`
}

// Run tells the story of one response.
func (c *whyCommand) Run(w *world) error {
	var survey events.Survey
	if c.Survey != "" {
		var err error
		if survey, err = events.ParseSurvey(c.Survey); err != nil {
			return usage{err}
		}
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	f, err := s.gather(w, survey, c.Response)
	if errors.Is(err, errNowhere) {
		return withHint(c.elsewhere(), "response %s is nowhere: not in the event stream, its lane, the dead letters or the delivery log", c.Response)
	}
	if err != nil {
		return err
	}
	st := f.tell()
	if c.JSON {
		return w.printJSON(st)
	}
	st.print(w)
	return nil
}

// elsewhere is what to try when nothing was found.
func (c *whyCommand) elsewhere() string {
	if c.Survey != "" {
		return "check both ids; without --survey every survey's events are searched"
	}
	return "check the id; what was published is kept as long as the event stream keeps it (webhooks status shows from which sequence on)"
}

// storyMost is how many lines of a story are printed at its beginning and at its
// end: a failing endpoint may have been tried a thousand times.
const (
	storyFirst = 8
	storyLast  = 12
)

// print shows the story for a person.
func (st story) print(w *world) {
	w.printf("response %s", st.Response)
	if st.Survey != "" {
		w.printf(" of survey %s", st.Survey)
	}
	w.printf("\n")
	lines := st.Lines
	for i, l := range lines {
		if left := len(lines) - storyFirst - storyLast; left > 1 && i >= storyFirst && i < storyFirst+left {
			if i == storyFirst {
				w.printf("%-23s  (%d more; all of them: webhooks attempts --all --survey %s --response %s)\n", "…", left, st.Survey, st.Response)
			}
			continue
		}
		w.printf("%-23s  %s\n", moment(l.At), printable([]byte(l.What)))
	}
	w.printf("%-23s  %s\n", "now", st.Now)
	if st.Next != "" {
		w.printf("%-23s  %s\n", "next", st.Next)
	}
	for _, command := range st.Commands {
		w.printf("%-23s  %s\n", "run", command)
	}
	for _, note := range st.Notes {
		w.printf("%-23s  %s\n", "note", note)
	}
}

// moment is a time as stories show it; what lies within a second counts here.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

// errNowhere says that nothing is known of a response.
var errNowhere = errors.New("nowhere")
