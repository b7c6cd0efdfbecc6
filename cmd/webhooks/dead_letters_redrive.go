package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/consumer/deadletters"
)

type deadLettersRedrive struct {
	connection    `embed:""`
	letterChoice  `embed:""`
	EventMaxBytes config.Bytes `name:"event-max-bytes" env:"WEBHOOKS_EVENT_MAX_BYTES" default:"1MiB" placeholder:"SIZE" help:"Largest event, as the service has it (default: ${default})."`
	JSON          bool         `name:"json" help:"Print JSON: a line for each letter that stays, and the sum."`
}

// Run hands dead letters back: each event goes into its survey's lane, and its
// letter is removed when it is stored there.
func (c *deadLettersRedrive) Run(w *world) error {
	f, err := c.chosen("redrive")
	if err != nil {
		return err
	}
	s, err := c.open(w)
	if err != nil {
		return err
	}
	defer s.close()
	back, err := newHandBack(w.ctx, s, int(c.EventMaxBytes), c.DryRun)
	if err != nil {
		return err
	}
	r := &redriving{c: c, w: w, back: back, started: time.Now()}
	store := deadletters.New(s.js, s.names)
	var tally deadletters.Tally
	if c.DryRun {
		tally, err = r.rehearse(w.ctx, store, f)
	} else {
		tally, err = r.redrive(w.ctx, store, f)
	}
	return r.summarize(tally, err)
}

// redriving is one run of the command.
type redriving struct {
	c       *deadLettersRedrive
	w       *world
	back    *handBack
	started time.Time
	stays   []*staying // in the order in which their reasons came up
	missing int        // letters asked for by number that are not there
	printed error
}

// staying are the letters that stay for one reason.
type staying struct {
	why, hint string
	letters   []uint64
}

// redrive hands every letter back that can be.
func (r *redriving) redrive(ctx context.Context, store *deadletters.Store, f deadletters.Filter) (deadletters.Tally, error) {
	step, end, err := r.watch(ctx, store, f, "redriving")
	if err != nil {
		return deadletters.Tally{}, err
	}
	defer end()
	return store.Redrive(ctx, f, r.back.park, func(l deadletters.Letter, err error) {
		step()
		r.told(l, err)
	})
}

// watch shows how many of the letters are done: step counts one.
func (r *redriving) watch(ctx context.Context, store *deadletters.Store, f deadletters.Filter, doing string) (step, end func(), err error) {
	all, err := store.Count(ctx, f)
	if err != nil && !errors.Is(err, deadletters.ErrNoLetter) {
		return nil, nil, err
	}
	bar, done := r.w.newProgress(doing), int64(0)
	return func() {
		done++
		bar.step(done, int64(all.Letters))
	}, bar.end, nil
}

// rehearse finds out what would be done, and does nothing.
func (r *redriving) rehearse(ctx context.Context, store *deadletters.Store, f deadletters.Filter) (tally deadletters.Tally, err error) {
	step, end, err := r.watch(ctx, store, f, "looking")
	if err != nil {
		return tally, err
	}
	defer end()
	f.Bodies = true
	for l, err := range store.List(ctx, f) {
		step()
		if err == nil {
			l.Body, err = store.Body(ctx, l)
		}
		if err == nil {
			_, err = r.back.placed(ctx, l)
		}
		switch {
		case err == nil:
			tally.Letters++
			tally.Bytes += int64(l.Bytes)
		case ctx.Err() != nil:
			return tally, context.Cause(ctx)
		case l.Sequence == 0: // about no letter: the reading itself ended
			return tally, err
		case errors.As(err, new(*deadletters.Unreadable)):
			tally.Skipped++
		case !errors.Is(err, deadletters.ErrNoLetter):
			tally.Failed++
		}
		r.told(l, err)
	}
	return tally, nil
}

// told hears of one letter's end.
func (r *redriving) told(l deadletters.Letter, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, deadletters.ErrNoLetter) {
		if len(r.c.Letters) == 0 {
			return // somebody else redrove or removed it meanwhile
		}
		r.missing++
	}
	why := reasonTold(err)
	if r.c.JSON {
		r.printed = errors.Join(r.printed, r.w.printJSON(map[string]any{
			"letter": l.Sequence, "survey": l.Survey, "event_id": l.EventID, "error": why, "hint": hintOf(err),
		}))
		return
	}
	r.stay(l.Sequence, why, hintOf(err))
}

// reasonTold is why a letter stays, without the letter: many stay for the same
// reason.
func reasonTold(err error) string {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.Error()
	}
	return err.Error()
}

func (r *redriving) stay(letter uint64, why, hint string) {
	i := slices.IndexFunc(r.stays, func(s *staying) bool { return s.why == why })
	if i < 0 {
		i, r.stays = len(r.stays), append(r.stays, &staying{why: why, hint: hint})
	}
	r.stays[i].letters = append(r.stays[i].letters, letter)
}

// summarize says what was done, and fails when something was not.
func (r *redriving) summarize(tally deadletters.Tally, err error) error {
	if r.c.JSON {
		r.printed = errors.Join(r.printed, r.w.printJSON(tally))
	} else {
		r.print(tally)
	}
	switch stay := tally.Failed + tally.Skipped + r.missing; {
	case err != nil && !errors.Is(err, deadletters.ErrNoLetter):
		return err
	case r.printed != nil:
		return r.printed
	case r.missing == stay && stay > 0:
		return withHint("see what there is with: webhooks dead-letters list", "%d of the letters are not there", stay)
	case stay > 0 && r.c.DryRun:
		return withHint("see above; the others can be redriven", "%d dead letters would stay", stay)
	case stay > 0:
		return withHint("see above; nothing is lost, redrive them again when that is mended", "%d dead letters were not redriven", stay)
	default:
		return nil
	}
}

func (r *redriving) print(tally deadletters.Tally) {
	for _, s := range r.stays {
		fmt.Fprintf(r.w.errw, "%s: %s\n", s.subject(), s.why)
		if s.hint != "" {
			fmt.Fprintf(r.w.errw, "  try: %s\n", s.hint)
		}
	}
	if r.c.DryRun {
		r.w.printf("%d dead letters (%d bytes) would be redriven\n", tally.Letters, tally.Bytes)
		return
	}
	r.w.printf("%d dead letters (%d bytes) redriven in %s", tally.Letters, tally.Bytes, time.Since(r.started).Round(time.Millisecond))
	switch off := r.back.off; {
	case tally.Letters == 0:
		r.w.printf("\n")
	case len(off) == 0:
		r.w.printf(": they are in their lanes, and sent from there now\n")
	default:
		r.w.printf(": they are in their lanes\nendpoints switched off by their owners, whose events wait until webhooks endpoint enable: %s\n", listed(off))
	}
}

// listMost is how many of many things are listed.
const listMost = 10

// listed lists things, and how many more there are.
func listed[T any](things []T) string {
	var list []string
	for _, thing := range things[:min(len(things), listMost)] {
		list = append(list, fmt.Sprint(thing))
	}
	if left := len(things) - listMost; left > 0 {
		list = append(list, fmt.Sprintf("and %d more", left))
	}
	return strings.Join(list, ", ")
}

func (s *staying) subject() string {
	if len(s.letters) == 1 {
		return fmt.Sprintf("letter %d stays", s.letters[0])
	}
	return fmt.Sprintf("%d letters stay (%s)", len(s.letters), listed(s.letters))
}
