package documents

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// fence is one fenced block of a page, with what the comments above it say.
type fence struct {
	line     int // of the page
	language string
	text     string

	prints []string // what it prints
	soon   bool     // it is asked again until it does
	later  []string // what it has printed by the end of the page
	stays  bool     // its last line keeps running
	notRun string   // why it cannot be run
}

// note is a comment above a fence.
var note = regexp.MustCompile(`^<!-- (prints by the end|prints soon|prints|keeps running|not run here)(?:: (.*))? -->$`)

// fencesOf reads the fenced blocks of a page.
func fencesOf(page string) ([]fence, error) {
	var all []fence
	var open *fence
	next := fence{}
	for i, line := range strings.Split(page, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			next.line, next.language = i+1, language
			open = &next
		case isFence:
			all = append(all, next)
			open, next = nil, fence{}
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "<!--"):
			if err := next.note(line); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		case next.noted() && line != "":
			return nil, fmt.Errorf("line %d: a comment for a fence stands above no fence", i+1)
		}
	}
	switch {
	case open != nil:
		return nil, fmt.Errorf("line %d: the fence does not end", open.line)
	case next.noted():
		return nil, errors.New("a comment for a fence at the end stands above no fence")
	}
	return all, nil
}

// note takes in a comment.
func (f *fence) note(line string) error {
	m := note.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("%s is no comment that is known", line)
	}
	switch what, said := m[1], m[2]; {
	case what == "keeps running" && said == "":
		f.stays = true
	case said == "":
		return fmt.Errorf("%s says nothing", line)
	case what == "prints", what == "prints soon":
		f.soon = f.soon || what == "prints soon"
		f.prints = append(f.prints, said)
	case what == "prints by the end":
		f.later = append(f.later, said)
	default:
		f.notRun = said
	}
	return nil
}

func (f *fence) noted() bool {
	return f.stays || f.notRun != "" || len(f.prints)+len(f.later) > 0
}

// check refuses a fence of which it is not known what to do with it.
func (f *fence) check() error {
	switch {
	case f.language == "":
		return fmt.Errorf("line %d: the fence has no language: sh, json, go, sql or text", f.line)
	case f.language != "sh" && f.noted():
		return fmt.Errorf("line %d: comments are for commands, and this is %s", f.line, f.language)
	case f.language == "sh" && f.notRun == "" && len(f.prints) == 0:
		return fmt.Errorf("line %d: nothing says what these commands print, or why they are not run", f.line)
	case f.soon && f.stays, f.notRun != "" && (f.stays || len(f.prints)+len(f.later) > 0), !f.stays && len(f.later) > 0:
		return fmt.Errorf("line %d: the comments do not go together", f.line)
	}
	return nil
}
